// The list of hits, and the seeds above it.

import { announce, bdi, byId, el, glyph, iconButton } from "./dom.js";
import { by, cosine, count, percentile, span, time } from "./format.js";
import { get } from "./api.js";
import { isPlaying, playing, toggle } from "./player.js";
import { addToList, isListed, onListChange, removeFromList } from "./playlist.js";
import { reasons } from "./reasons.js";
import { addSeed, removeSeed, searchFrom } from "./search.js";
import { on, store, tell } from "./store.js";
import { isUpload, uploadHint } from "./upload.js";

/** Identifiers of hits whose reasons are open: they stay open when the list is ranked again. */
const open = new Set();
let drawn = [];

/** Draws the view whenever there is an answer. */
export function setUpHits() {
  on("seeds", drawSeeds);
  on("searching", () => {
    const list = byId("view-hits").querySelector(".hits");
    if (list) list.setAttribute("aria-busy", "true");
    else byId("view-hits").replaceChildren(el("div", { class: "hits", aria: { busy: "true", label: "Searching" } }, Array.from({ length: 6 }, () => el("div", { class: "skeleton" }))));
  });
  on("answer", draw);
  on("failed", (error) => {
    byId("view-hits").replaceChildren(failure(error));
    announce(error.message);
  });
  on("playing", markPlaying);
  onListChange(() => drawn.forEach(({ card, listButton }) => showListed(card, listButton)));
}

/** A box that tells what went wrong. */
export const failure = (error) => el(
  "div", { class: "failed" },
  el("strong", {}, error.status === 400 ? "That is not possible" : "That did not work"),
  el("pre", {}, error.message),
  el("button", { type: "button", class: "plain", on: { click: () => tell("retry") } }, "Try again"),
);

function drawSeeds() {
  byId("seeds").replaceChildren(...store.seeds.map((seed) => {
    const { card, weight, passage } = seed;
    const times = passage ? ` ${time(passage[0])}–${time(passage[1])}` : "";
    const artist = isUpload(card) ? " — your file" : card.artist ? ` — ${card.artist}` : "";
    return el(
      "span", { class: weight < 0 ? "chip minus" : "chip" },
      el("span", { class: "sign", aria: { hidden: "true" } }, weight < 0 ? "−" : "+"),
      el("span", { class: "sr" }, weight < 0 ? "unlike" : "like"),
      bdi(`${card.title}${artist}${times}`, { class: "label" }),
      iconButton("play", `Play ${card.title}`, () => toggle(card, { passage })),
      iconButton("close", `Remove ${card.title}`, () => removeSeed(seed)),
    );
  }));
}

function draw() {
  const { answer } = store;
  if (!answer) return drawEmpty();
  const view = byId("view-hits");
  // What had the focus keeps it when the list is ranked again.
  const focused = document.activeElement?.closest?.(".hit")?.dataset.id;
  const action = document.activeElement?.dataset?.action;
  const cards = answer.hits;
  drawn = [];
  const notes = [...answer.notes];
  const summary = el(
    "div", { class: "summary" },
    el("span", {}, `${count(answer.hits.length, "song")} of ${answer.compared.toLocaleString("en")}`),
    answer.hits.length > 0 && el("button", { type: "button", class: "plain", on: { click: () => addToList(cards) } }, glyph("list"), "Add all to the playlist"),
  );
  const out = leftOut(answer.left_out);
  if (out) notes.unshift(out);
  const list = el("ol", { class: "hits", aria: { label: "Results" } }, answer.hits.map((hit, index) => item(hit, index, cards)));
  const content = answer.hits.length ? list : el(
    "div", { class: "empty" }, el("h2", {}, "No song is left"),
    el("p", {}, store.options.where ? "The filter lets none pass but the seeds. Loosen it, or remove it." : "The catalogue has no other song to compare with."),
  );
  const versions = answer.seed_versions?.length ? versionList(answer.seed_versions, "Versions of what you search from") : "";
  view.replaceChildren(summary, notes.length ? el("ul", { class: "notes" }, notes.map((note) => el("li", {}, note))) : "", versions, content);
  markPlaying();
  if (focused && action) view.querySelector(`.hit[data-id="${CSS.escape(focused)}"] [data-action="${action}"]`)?.focus();
}

/** How many better hits were left out, and why. */
function leftOut({ artist, album, gap, versions }) {
  const parts = [
    artist && `${artist} by artists that are listed often enough`,
    album && `${album} from albums that are listed often enough`,
    gap && `${gap} too close to another of the same artist or album`,
    versions && `${versions} as versions`,
  ].filter(Boolean);
  return parts.length ? `Left out: ${parts.join(", ")}` : null;
}

function item(hit, index, cards) {
  const panel = el("div", { hidden: true });
  const why = iconButton("why", `Why ${hit.title}`, () => setOpen(!open.has(hit.id)), { aria: { label: `Why ${hit.title}`, expanded: "false" }, data: { action: "why" } });
  const setOpen = (isOpen) => {
    open[isOpen ? "add" : "delete"](hit.id);
    why.setAttribute("aria-expanded", String(isOpen));
    why.classList.toggle("on", isOpen);
    panel.hidden = !isOpen;
    if (isOpen) reasons(panel, hit, cards);
  };
  const playButton = el("button", { type: "button", class: "icon play", data: { action: "play" }, on: { click: () => toggle(hit, { passage: hit.passage, cards }) } }, glyph("play"));
  const listButton = iconButton("list", "", () => (isListed(hit) ? removeFromList(hit) : addToList([hit])), { data: { action: "list" } });
  showListed(hit, listButton);
  const row = el(
    "div", { class: "row" },
    playButton,
    el(
      "div", { class: "who" },
      el("span", { class: "name" }, el("span", { class: "rank" }, index + 1), bdi(hit.title, { title: hit.file })),
      el("span", { class: "by" }, bdi(by(hit)), ` · ${time(hit.duration)}`, hit.passage ? ` · ${time(hit.passage[0])}–${time(hit.passage[1])}` : ""),
    ),
    score(hit),
    el(
      "div", { class: "actions" },
      why,
      iconButton("search", `Find what sounds like ${hit.title}`, () => searchFrom(hit, hit.passage), { data: { action: "from" } }),
      iconButton("plus", `More like ${hit.title}`, () => addSeed(hit, 1), { data: { action: "plus" } }),
      iconButton("minus", `Less like ${hit.title}`, () => addSeed(hit, -1), { data: { action: "minus" } }),
      listButton,
    ),
  );
  const element = el("li", { class: "hit", data: { id: hit.id } }, row, hit.versions.length ? versionList(hit.versions, "Versions") : "", panel);
  drawn.push({ card: hit, element, playButton, listButton });
  if (open.has(hit.id)) setOpen(true);
  return element;
}

/** The percentile, large, with the cosine below it. */
function score(hit) {
  if (hit.percentile === null) return el("div", { class: "score" }, el("span", { class: "percent" }, cosine(hit.cosine)), el("span", { class: "cosine" }, "cosine"));
  const bar = el("i", {});
  bar.style.width = `${hit.percentile}%`;
  const about = `Nearer than ${percentile(hit.percentile)} % of random pairs of songs by different artists; cosine ${cosine(hit.cosine)}`;
  return el(
    "div", { class: "score", title: about },
    el("span", { class: "sr" }, about),
    el("span", { class: "percent", aria: { hidden: "true" } }, percentile(hit.percentile), el("small", {}, " %")),
    el("span", { class: "meter", aria: { hidden: "true" } }, bar),
    el("span", { class: "cosine", aria: { hidden: "true" } }, `cos ${cosine(hit.cosine)}`),
  );
}

function versionList(versions, title) {
  return el(
    "div", { class: "versions" }, el("span", {}, title),
    el("ul", {}, versions.map((version) => el(
      "li", {},
      iconButton("play", `Play ${version.title}`, () => toggle(version)),
      bdi(version.title, { class: "name" }),
      el("span", {}, Math.abs(version.longer) < 0.5 ? time(version.duration) : `${time(version.duration)}, ${Math.abs(version.longer).toFixed(0)} s ${version.longer > 0 ? "longer" : "shorter"}`),
    ))),
  );
}

function showListed(card, button) {
  const listed = isListed(card);
  const label = listed ? `Remove ${card.title} from the playlist` : `Add ${card.title} to the playlist`;
  button.replaceChildren(glyph(listed ? "check" : "list"));
  button.setAttribute("aria-label", label);
  button.title = label;
  button.classList.toggle("on", listed);
}

function markPlaying() {
  const now = playing();
  for (const { card, element, playButton } of drawn) {
    const isThis = now?.card.id === card.id;
    const isOn = isThis && isPlaying();
    element.classList.toggle("playing", isThis);
    playButton.replaceChildren(glyph(isOn ? "pause" : "play"));
    playButton.setAttribute("aria-label", `${isOn ? "Pause" : "Play"} ${card.title}`);
  }
}

async function drawEmpty() {
  const view = byId("view-hits");
  drawn = [];
  const { info } = store;
  if (!info.tracks) {
    view.replaceChildren(el("div", { class: "empty" }, el("h2", {}, "The catalogue is empty"), el("p", {}, "Add music with mert-search add; this page will have it at once.")));
    return;
  }
  const samples = el("div", { class: "samples" });
  view.replaceChildren(el(
    "div", { class: "empty" },
    el("h2", {}, "What does it sound like?"),
    el("p", {}, `${count(info.tracks, "song")}, ${span(info.duration)} of music. Type the name of one above, or start from one of these; the map shows all of them.`),
    uploadHint(),
    samples,
  ));
  try {
    const { tracks } = await get("suggest", { limit: 12 }, "samples");
    samples.replaceChildren(...tracks.map((card) => el(
      "button", { type: "button", class: "plain", on: { click: () => searchFrom(card) } },
      bdi(card.title, { class: "name" }), bdi(by(card), { class: "by" }),
    )));
  } catch (error) {
    samples.replaceChildren(failure(error));
  }
}
