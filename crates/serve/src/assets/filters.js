// Filters: fields for the columns of the catalogue, which write an expression that can also be written by hand.

import { get } from "./api.js";
import { bdi, byId, debounce, el, iconButton } from "./dom.js";
import { setOptions } from "./search.js";
import { on, store } from "./store.js";

/** The most values that a field lists. */
const MOST = 60;

/** Filters that were made with fields: `{ column, min, max, values: Set, unknown }`. */
let filters = [];
let columns = [];

const quoted = (text) => `"${text.replace(/[\\"]/g, "\\$&")}"`;
const named = (name) => (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : quoted(name));

/** A filter as an expression; nothing if it lets all tracks pass. */
function expression({ column, min, max, values, unknown }) {
  const name = named(column.name);
  const tests = [];
  if (column.kind === "number" && (min !== "" || max !== "")) tests.push(`${name} ${min}..${max}`);
  if (values.size === 1) tests.push(`${name} = ${quoted([...values][0])}`);
  if (values.size > 1) tests.push(`${name} in (${[...values].map(quoted).join(", ")})`);
  if (unknown) tests.push(`${name} is unknown`);
  return tests.length > 1 ? `(${tests.join(" or ")})` : tests[0];
}

/** Makes the fields, and keeps the expression at the options. */
export async function setUpFilters() {
  const where = byId("where");
  const note = byId("where-note");
  where.addEventListener("input", debounce(() => {
    // What was written by hand is not what the fields say.
    filters = [];
    draw();
    setOptions({ where: where.value.trim() });
  }, 350));
  byId("filters-clear").addEventListener("click", () => {
    filters = [];
    draw();
    setOptions({ where: "" });
    where.focus();
  });
  on("options", () => {
    if (document.activeElement !== where) where.value = store.options.where;
    byId("filters-clear").hidden = !store.options.where && !filters.length;
  });
  on("answer", () => {
    where.classList.remove("invalid");
    note.classList.remove("bad");
    const { answer, options } = store;
    note.textContent = answer && options.where ? `${answer.compared.toLocaleString("en")} of ${answer.tracks.toLocaleString("en")} songs` : "";
  });
  on("failed", (error) => {
    if (!store.options.where || error.status !== 400) return;
    where.classList.add("invalid");
    note.classList.add("bad");
    note.textContent = error.message;
  });
  try {
    ({ columns } = await get("columns"));
  } catch (error) {
    byId("filters").replaceChildren(el("p", { class: "hint bad" }, error.message));
    return;
  }
  where.placeholder = example();
  draw();
}

/** An expression over columns that the catalogue has: around the middle of a column of numbers, and another artist. */
function example() {
  const known = columns.filter((column) => column.known > 0);
  const number = known.find(({ name }) => ["bpm", "year"].includes(name)) ?? known.find(({ kind }) => kind === "number");
  const tests = [];
  if (number?.kind === "number") {
    const [from, to] = [0.25, 0.75].map((part) => Math.round(number.min + part * (number.max - number.min)));
    tests.push(`${named(number.name)} ${from}..${to}`);
  }
  if (known.some(({ name }) => name === "artist")) tests.push("artist != seed.artist");
  return tests.join(" and ") || "duration 2:00..5:00";
}

const change = debounce(() => setOptions({ where: filters.map(expression).filter(Boolean).join(" and ") }), 200);

function draw() {
  const used = new Set(filters.map(({ column }) => column.name));
  const free = columns.filter((column) => !used.has(column.name) && column.known > 0 && (column.kind === "number" || column.distinct > 1));
  const add = el(
    "select",
    {
      class: "add", aria: { label: "Add a filter" },
      on: {
        change: (event) => {
          const column = columns.find(({ name }) => name === event.target.value);
          if (!filters.length && store.options.where) setOptions({ where: "" });
          filters.push({ column, min: "", max: "", values: new Set(), unknown: false });
          draw();
          byId("filters").querySelector(".filter:last-of-type input")?.focus();
          byId("filters-clear").hidden = false;
        },
      },
    },
    el("option", { value: "" }, "Add a filter…"),
    free.map(({ name, known }) => el("option", { value: name }, `${name} (${known.toLocaleString("en")})`)),
  );
  byId("filters").replaceChildren(...filters.map(field), free.length ? add : "");
}

function field(filter) {
  const { column } = filter;
  const remove = iconButton("close", `Remove the filter ${column.name}`, () => {
    filters = filters.filter((other) => other !== filter);
    draw();
    change();
    byId("filters").querySelector("select")?.focus();
  });
  const unknown = column.unknown > 0 && checkbox(
    el("i", {}, "unknown"), column.unknown, filter.unknown, (checked) => { filter.unknown = checked; change(); },
  );
  const content = column.kind === "number" ? bounds(filter) : values(filter);
  return el(
    "div",
    { class: "filter", role: "group", aria: { label: column.name } },
    el("div", { class: "title-row" }, el("h3", {}, column.name), remove),
    content,
    column.kind === "number" ? unknown : (unknown && content.append(unknown), null),
  );
}

function bounds(filter) {
  const { column } = filter;
  const input = (name, label, value) => el("input", {
    type: "number", step: "any", placeholder: String(Math.round(100 * value) / 100), value: filter[name],
    aria: { label: `${column.name} ${label}` },
    on: { input: (event) => { filter[name] = event.target.value; change(); } },
  });
  return el("div", { class: "bounds" }, input("min", "from", column.min), "to", input("max", "to", column.max));
}

function values(filter) {
  const { column } = filter;
  const shown = column.values.slice(0, MOST);
  const list = el("div", { class: "values" }, shown.map(([value, count]) => checkbox(
    bdi(value), count, filter.values.has(value), (checked) => {
      filter.values[checked ? "add" : "delete"](value);
      change();
    },
  )));
  const more = column.distinct - shown.length;
  if (more > 0) list.append(el("p", { class: "hint" }, `${more.toLocaleString("en")} more: write them in the expression`));
  return list;
}

function checkbox(label, count, checked, onchange) {
  return el(
    "label", { class: "check" },
    el("input", { type: "checkbox", checked, on: { change: (event) => onchange(event.target.checked) } }),
    label,
    el("span", { class: "count" }, count.toLocaleString("en")),
  );
}
