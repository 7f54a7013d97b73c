// A path between two songs.

import { get, isStale } from "./api.js";
import { combobox } from "./combobox.js";
import { announce, bdi, byId, el, glyph, iconButton } from "./dom.js";
import { by, count, percentile, time } from "./format.js";
import { failure } from "./hits.js";
import { play } from "./player.js";
import { addToList } from "./playlist.js";
import { searchFrom } from "./search.js";
import { geometry, on, store } from "./store.js";

const ends = { from: null, to: null };
let steps = 8;
let result;

/** Makes the view. */
export function setUpPath() {
  const fields = Object.fromEntries(["from", "to"].map((end) => {
    const input = el("input", { type: "search", id: `path-${end}`, placeholder: "Find a song", autocomplete: "off", spellcheck: false });
    const box = el("div", { class: "searchbox" }, input);
    combobox(input, (card) => { ends[end] = card; walk(); }, { keepText: true });
    return [end, { input, box }];
  }));
  const between = el("input", {
    type: "number", min: "0", max: "50", value: String(steps),
    on: { input: (event) => { const number = Number(event.target.value); if (event.target.value !== "" && number >= 0 && number <= 50) { steps = Math.round(number); walk(); } } },
  });
  result = el("div", {});
  byId("view-path").replaceChildren(
    el(
      "div", { class: "path-form" },
      el("div", { class: "field" }, el("label", { for: "path-from" }, "From"), fields.from.box),
      el("div", { class: "field" }, el("label", { for: "path-to" }, "To"), fields.to.box),
      el("label", { class: "field" }, "Songs between", between),
    ),
    result,
  );
  const adopt = () => {
    const seed = store.seeds.find(({ weight }) => weight > 0);
    if (seed && ends.from?.id !== seed.card.id) {
      ends.from = seed.card;
      fields.from.input.value = seed.card.title;
      walk();
    }
  };
  on("seeds", adopt);
  on("options", () => !byId("view-path").hidden && walk());
  on("view", (view) => view === "path" && walk());
  on("retry", () => !byId("view-path").hidden && walk());
  empty();
  adopt();
}

function empty() {
  result.replaceChildren(el(
    "div", { class: "empty" }, el("h2", {}, "From one song to another"),
    el("p", {}, "Choose two songs. The songs between lead from one to the other in even steps; a step that is wider than those between random songs is marked."),
  ));
}

async function walk() {
  if (byId("view-path").hidden) return;
  if (!ends.from || !ends.to) return empty();
  try {
    const answer = await get("path", { from: ends.from.id, to: ends.to.id, steps, where: store.options.where, ...geometry() }, "path");
    const cards = answer.steps;
    const wide = cards.filter((step) => step.is_wide).length;
    result.replaceChildren(
      el(
        "div", { class: "summary" },
        el("span", {}, `${count(cards.length, "song")}${wide ? `, ${count(wide, "wide step")}` : ""}; beside each the percentile of the step to it`),
        el("button", { type: "button", class: "plain", on: { click: () => addToList(cards) } }, glyph("list"), "Add all to the playlist"),
      ),
      answer.notes.length ? el("ul", { class: "notes" }, answer.notes.map((note) => el("li", {}, note))) : "",
      el("ol", { class: "steps", aria: { label: "Path" } }, cards.map((step) => item(step, cards))),
    );
    announce(`Path of ${count(cards.length, "song")}`);
  } catch (error) {
    if (!isStale(error)) result.replaceChildren(failure(error));
  }
}

function item(step, cards) {
  const figure = step.percentile === null ? "" : el(
    "span", { class: "step", title: `The step from the song before is nearer than ${percentile(step.percentile)} % of random pairs` },
    step.is_wide ? el("b", {}, "wide step") : "", `${percentile(step.percentile)} %`,
  );
  return el(
    "li", { class: step.is_wide ? "wide" : null },
    el("button", { type: "button", class: "icon play", aria: { label: `Play ${step.title}` }, on: { click: () => play(step, { cards }) } }, glyph("play")),
    el("div", { class: "who" }, bdi(step.title, { class: "name" }), el("span", { class: "by" }, bdi(by(step)), ` · ${time(step.duration)}`)),
    figure || el("span", { class: "step" }),
    el("div", { class: "actions" }, iconButton("search", `Find what sounds like ${step.title}`, () => searchFrom(step))),
  );
}
