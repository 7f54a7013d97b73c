// Why a hit is one: the terms of its score by hidden state, the passages with the largest shares, and what is known.

import { get, isStale } from "./api.js";
import { bdi, el, glyph } from "./dom.js";
import { cosine, count, known, signed, time } from "./format.js";
import { play } from "./player.js";
import { geometry, seedParameters } from "./store.js";

/** Fills `panel` with the reasons of a hit; `others` are what it can be compared with. */
export async function reasons(panel, hit, others, versus = undefined) {
  panel.className = "reasons";
  if (!panel.firstChild) panel.replaceChildren(el("div", { class: "skeleton wide", aria: { label: "Computing the reasons" } }));
  try {
    const answer = await get("explain", { ...seedParameters(), ...geometry(), hit: hit.id, segment: hit.segment ?? undefined, versus }, `explain ${hit.id}`);
    const compare = (other) => reasons(panel, hit, others, other);
    panel.replaceChildren(terms(answer), passages(answer), facts(answer), contrast(answer, hit, others, compare));
    if (versus) panel.querySelector("select")?.focus();
  } catch (error) {
    if (!isStale(error)) panel.replaceChildren(el("p", { class: "hint bad wide" }, error.message));
  }
}

const section = (title, hint, ...content) => el("section", {}, el("h3", {}, title), hint && el("p", { class: "hint" }, hint), content);

/** A bar to the right for what is above zero, to the left for what is below. */
function bar(value, largest) {
  const mark = el("i", { class: value < 0 ? "below" : null });
  const width = largest > 0 ? (50 * Math.abs(value)) / largest : 0;
  mark.style.width = `${width}%`;
  mark.style.left = `${value < 0 ? 50 - width : 50}%`;
  return el("div", { class: "bars", aria: { hidden: "true" } }, mark);
}

/** The terms as deviations from the average pair; with it they sum to the cosine. */
function terms(answer) {
  const largest = Math.max(...answer.terms.map(({ deviation }) => Math.abs(deviation)), 1e-9);
  const row = ({ group, weight, deviation }) => el(
    "tr", {},
    el("th", { scope: "row" }, `state ${group}`), el("td", { class: "figure" }, `${Math.round(100 * weight)} %`),
    el("td", { class: "bar" }, bar(deviation, largest)), el("td", { class: "figure" }, signed(deviation)),
  );
  const sum = (label, value) => el("tr", { class: "sum" }, el("th", { scope: "row", colSpan: 3 }, label), el("td", { class: "figure" }, value));
  return section(
    "What adds to the score",
    "Each hidden state's part, beside that of an average pair of songs by different artists.",
    el(
      "table", {},
      el("thead", {}, el("tr", {}, ["Hidden state", "Weight", "Less or more than average", ""].map((text, index) => el("th", { scope: "col", class: index === 1 || index === 3 ? "figure" : null }, text)))),
      el("tbody", {}, answer.terms.map(row), sum("Average pair", cosine(answer.average)), sum("Cosine: the sum", cosine(answer.cosine))),
    ),
    answer.seeds.length > 1 && el("ul", { class: "hint" }, answer.seeds.map((seed, index) => el("li", {}, bdi(answer.seed_tracks[index]?.title ?? seed.seed), `: cosine ${cosine(seed.cosine)}, adds ${signed(seed.term)}`))),
    answer.notes.map((note) => el("p", { class: "hint" }, note)),
  );
}

/** The pairs of passages: A is of the seed, B of the hit. */
function passages(answer) {
  if (!answer.passages.length) return "";
  const share = (pair) => (answer.cosine > 0 ? `${(100 * pair.share / answer.cosine).toFixed(1)} % of the score` : `adds ${signed(pair.share, 4)}`);
  const row = (pair) => {
    const seed = answer.seed_tracks[pair.seed] ?? answer.seed_tracks[0];
    const a = { card: seed, passage: [pair.seed_start, pair.seed_end] };
    const b = { card: answer.hit, passage: [pair.start, pair.end] };
    const mark = (on) => {
      for (const other of document.querySelectorAll(".side-a.on, .side-b.on")) other.classList.remove("on");
      on?.classList.add("on");
    };
    const one = (side, name, button, then = null) => {
      mark(button);
      play(side.card, { passage: side.passage, then: then ?? (() => mark(null)) });
    };
    const label = (name, { card, passage }) => `Play ${name}: ${card.title}, ${time(passage[0])} to ${time(passage[1])}`;
    const first = el("button", { type: "button", class: "plain side-a", aria: { label: label("A", a) }, on: { click: () => one(a, "A", first) } }, el("b", {}, "A"), time(a.passage[0]));
    const second = el("button", { type: "button", class: "plain side-b", aria: { label: label("B", b) }, on: { click: () => one(b, "B", second) } }, el("b", {}, "B"), time(b.passage[0]));
    const both = el("button", { type: "button", class: "icon", title: "A, then B", aria: { label: "Play A and then B" }, on: { click: () => one(a, "A", first, () => one(b, "B", second)) } }, glyph("next"));
    return el("li", {}, first, second, both, el("span", { class: "share" }, `${share(pair)} · cosine ${cosine(pair.cosine)}`));
  };
  const { participation } = answer;
  return section(
    "Passages that add most",
    "A is from what you search from, B from this song. Listen to both.",
    el("ul", { class: "pairs" }, answer.passages.map(row)),
    participation && el("p", { class: "hint" }, taking(participation)),
  );
}

function taking({ pairs, positive, seed_segments, seed_segments_for_half, hit_segments, hit_segments_for_half }) {
  if (pairs === 1) return positive > 0 ? "It is the only pair of passages." : "It is the only pair of passages, and takes from the score.";
  const adds = `${Math.round(100 * positive)} % of ${pairs.toLocaleString("en")} pairs of passages add to the score.`;
  if (!seed_segments_for_half || !hit_segments_for_half) return adds;
  return `${adds} Half of it comes from ${seed_segments_for_half} of ${count(seed_segments, "passage")} of A and ${hit_segments_for_half} of ${hit_segments} of B.`;
}

/** What is known of both, which is beside the score and not its cause. */
function facts(answer) {
  const text = (values) => (values.length ? values.join(", ") : "unknown");
  const shown = (name, values) => values.map((value) => known(name, value));
  const rows = answer.facts
    .filter(({ column, seeds, hit }) => column !== "title" && (hit.length || seeds.some((values) => values.length)))
    .map(({ column, seeds, hit }) => {
      const same = seeds.some((values) => values.length && text(values) === text(hit));
      return el(
        "tr", {}, el("th", { scope: "row" }, column),
        seeds.map((values) => el("td", { class: same ? "same" : null }, bdi(text(shown(column, values))))),
        el("td", { class: same ? "same" : null }, bdi(text(shown(column, hit)))),
      );
    });
  if (!rows.length) return "";
  const heads = [...answer.seed_tracks.map(({ title }) => title), answer.hit.title];
  return section(
    "What is known",
    null,
    el(
      "table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "sr" }, "Column")), heads.map((title) => el("th", { scope: "col" }, bdi(title))))),
      el("tbody", {}, rows),
    ),
  );
}

/** Why this hit is before or after another. */
function contrast(answer, hit, others, compare) {
  const rest = others.filter((other) => other.id !== hit.id);
  if (!rest.length) return "";
  const { contrast: found } = answer;
  const chosen = found ? rest.find((other) => other.file === found.versus) : null;
  const select = el(
    "select", { aria: { label: "Compare with" }, on: { change: (event) => compare(event.target.value || undefined) } },
    el("option", { value: "" }, "Choose another result…"),
    rest.map((other) => el("option", { value: other.id, selected: other === chosen }, `${other.title}${other.artist ? ` — ${other.artist}` : ""}`)),
  );
  if (!found) return section("Compared with another", null, select);
  const largest = Math.max(...found.terms.map(({ difference }) => Math.abs(difference)), 1e-9);
  const row = ({ group, difference }) => el(
    "tr", {}, el("th", { scope: "row" }, `state ${group}`), el("td", { class: "bar" }, bar(difference, largest)), el("td", { class: "figure" }, signed(difference)),
  );
  const total = found.cosine - found.versus_cosine;
  return section(
    "Compared with another",
    null,
    select,
    el("table", {}, el("tbody", {}, found.terms.map(row), el("tr", { class: "sum" }, el("th", { scope: "row", colSpan: 2 }, `${cosine(found.cosine)} here, ${cosine(found.versus_cosine)} there`), el("td", { class: "figure" }, signed(total))))),
  );
}
