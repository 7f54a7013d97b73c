// The map: its data, its colours, its legend, and the card of a chosen song.

import { get, isStale } from "./api.js";
import { announce, bdi, byId, debounce, el, iconButton } from "./dom.js";
import { by, count, time } from "./format.js";
import { failure } from "./hits.js";
import { MapView } from "./map-view.js";
import { play } from "./player.js";
import { addSeed, searchFrom } from "./search.js";
import { geometry, on, store } from "./store.js";

/** Colours of groups, told apart by people with any colour vision: after Okabe and Ito, 2008. */
const COLORS = {
  light: ["#0072b2", "#b35900", "#00805e", "#a8447f", "#8a7400", "#3a93c9", "#c23b22", "#5b5fc7"],
  dark: ["#56b4e9", "#e69f00", "#2cc295", "#d98cb9", "#e0d24a", "#9ac7ff", "#ff8066", "#a7a9ff"],
};
const PLAIN = { light: "#56707a", dark: "#8fa9b1" };
const UNKNOWN = { light: "#979288", dark: "#6d757d" };
/** From low to high numbers. */
const RAMP = { light: [[37, 99, 169], [190, 60, 40]], dark: [[80, 160, 240], [255, 150, 90]] };

const details = new Map();
let parts;
let view;
let method = "pca";
let colored = "";
let drawnFor = "";

/** Makes the view; the map is loaded when it is shown first. */
export function setUpMap() {
  const methods = el(
    "select", { on: { change: (event) => { method = event.target.value; load(); } } },
    el("option", { value: "pca" }, "Principal components"), el("option", { value: "tsne" }, "Neighbours (t-SNE)"),
  );
  const colors = el(
    "select", { on: { change: (event) => { colored = event.target.value; paint(); } } },
    el("option", { value: "" }, "None"), store.info.columns.map((name) => el("option", { value: name }, name)),
  );
  const box = el("div", { class: "map-box" });
  parts = { box, legend: el("div", { class: "legend" }), state: el("p", { class: "hint", role: "status" }), card: null };
  view = new MapView(box, { hover: tip, choose });
  byId("view-map").replaceChildren(
    el(
      "div", { class: "map-tools" },
      el("label", { class: "field" }, "Drawn by", methods),
      el("label", { class: "field" }, "Coloured by", colors),
      el(
        "div", { class: "zoom" },
        iconButton("plus", "Zoom in", () => view.zoom(1.5)), iconButton("minus", "Zoom out", () => view.zoom(1 / 1.5)),
        iconButton("home", "Show the whole map", () => view.reset()),
      ),
    ),
    box, parts.legend, parts.state,
  );
  on("view", (name) => { if (name === "map") { view.resize(); load(); } });
  on("answer", mark);
  on("options", debounce(() => !byId("view-map").hidden && load(), 300));
  on("changed", () => { drawnFor = ""; details.clear(); if (!byId("view-map").hidden) load(); });
  on("retry", () => !byId("view-map").hidden && load());
  document.addEventListener("themechange", () => { if (drawnFor) paint(); });
}

async function load() {
  const wanted = JSON.stringify([method, geometry(), store.generation]);
  if (wanted === drawnFor) return;
  parts.state.textContent = method === "tsne" ? "Computing the map, which takes a while the first time…" : "Computing the map…";
  try {
    const answer = await get("map", { method, ...geometry() }, "map");
    drawnFor = wanted;
    view.setPoints(answer.points);
    const explained = answer.explained ? ` They hold ${Math.round(100 * answer.explained)} % of the variance.` : "";
    const about = method === "pca" ? `The two directions in which the songs differ most.${explained}` : "Neighbours lie together; larger distances mean nothing.";
    parts.state.textContent = [`${count(answer.points.length, "song")}. ${about}`, ...(answer.notes ?? [])].join(" ");
    await paint();
    mark();
  } catch (error) {
    if (isStale(error)) return;
    parts.state.replaceChildren(failure(error));
  }
}

/** An entry of the legend. */
function entry(color, text) {
  const dot = el("i", {});
  dot.style.background = color;
  return el("span", {}, dot, bdi(text));
}

/** The entries of what is drawn on top. */
const marks = () => (store.seeds.length ? [entry("var(--other)", "searched from"), entry("var(--accent)", "results")] : []);

const theme = () => document.documentElement.dataset.theme;

/** Colours the points by the chosen column, and writes the legend. */
async function paint() {
  const name = theme();
  if (!colored) {
    view.setColors(() => PLAIN[name]);
    parts.legend.replaceChildren(...marks());
    return;
  }
  let column;
  try {
    column = await get(`columns/${encodeURIComponent(colored)}`, {}, "column");
  } catch (error) {
    if (!isStale(error)) parts.legend.replaceChildren(error.message);
    return;
  }
  if (column.kind === "text") {
    const colors = COLORS[name];
    view.setColors((track) => {
      const code = column.values[track];
      return code === null || code >= colors.length ? UNKNOWN[name] : colors[code];
    });
    const shown = column.names.slice(0, colors.length).map((text, index) => entry(colors[index], text));
    parts.legend.replaceChildren(...marks(), ...shown, entry(UNKNOWN[name], column.names.length > colors.length ? "others, unknown" : "unknown"));
    return;
  }
  const known = column.values.filter((value) => value !== null);
  const [low, high] = [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
  const [from, to] = RAMP[name];
  const mix = (share) => `rgb(${from.map((value, index) => Math.round(value + share * (to[index] - value))).join(",")})`;
  view.setColors((track) => {
    const value = column.values[track];
    return value === null ? UNKNOWN[name] : mix(high > low ? Math.round(24 * (value - low) / (high - low)) / 24 : 0);
  });
  const ramp = el("i", { class: "ramp" });
  ramp.style.background = `linear-gradient(90deg, ${mix(0)}, ${mix(1)})`;
  const round = (value) => String(Math.round(100 * value) / 100);
  parts.legend.replaceChildren(...marks(), el("span", {}, known.length ? round(low) : ""), ramp, el("span", {}, known.length ? round(high) : ""), entry(UNKNOWN[name], "unknown"));
}

function mark() {
  view.setMarks(
    store.seeds.map(({ card }) => card.track).filter((track) => track !== null),
    (store.answer?.hits ?? []).map(({ track }) => track),
  );
}

async function detail(track) {
  if (!details.has(track)) details.set(track, await get(`tracks/${track}`, { generation: store.generation }));
  return details.get(track);
}

const tipSoon = debounce(async (track, x, y) => {
  try {
    const card = await detail(track);
    if (view.hovered !== track) return;
    hideTip();
    const tip = el("div", { class: "map-tip" }, bdi(card.title, { class: "name" }), bdi(by(card), { class: "by" }));
    parts.box.append(tip);
    tip.style.left = `${Math.max(4, Math.min(x + 12, parts.box.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y > 60 ? y - tip.offsetHeight - 8 : y + 16}px`;
  } catch {
    hideTip();
  }
}, 40);

const hideTip = () => parts.box.querySelector(".map-tip")?.remove();

function tip(track, x, y) {
  if (track === null) hideTip();
  else tipSoon(track, x, y);
}

async function choose(track, isSearch) {
  parts.card?.remove();
  parts.card = null;
  if (track === null) return;
  let card;
  try {
    card = await detail(track);
  } catch (error) {
    parts.state.textContent = error.message;
    return;
  }
  if (isSearch) return searchFrom(card);
  const close = () => { view.choose(null, false); view.canvas.focus(); };
  const button = (label, kind, onclick) => el("button", { type: "button", class: kind, on: { click: onclick } }, label);
  parts.card = el(
    "div", { class: "map-card", role: "group", aria: { label: card.title }, on: { keydown: (event) => event.key === "Escape" && close() } },
    el("div", { class: "title-row" }, el("div", { class: "who" }, bdi(card.title, { class: "name" }), el("span", { class: "by" }, bdi(by(card)), ` · ${time(card.duration)}`)), iconButton("close", "Close", close)),
    el("div", { class: "row" }, button("Play", "primary", () => play(card)), button("Find alike", "plain", () => searchFrom(card)), button("More like this", "plain", () => addSeed(card, 1))),
  );
  parts.box.append(parts.card);
  announce(`${card.title}, ${by(card)}`);
}
