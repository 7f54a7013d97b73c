// A text field that suggests tracks: the pattern "combobox with a list" of the ARIA Authoring Practices.

import { get, isStale } from "./api.js";
import { bdi, debounce, el } from "./dom.js";
import { by, time } from "./format.js";

let combos = 0;

/** Makes `input` suggest tracks; `choose` is called with the card of the one that is chosen. */
export function combobox(input, choose, { keepText = false } = {}) {
  const id = `suggestions-${++combos}`;
  const list = el("div", { class: "listbox", role: "listbox", id, hidden: true, aria: { label: "Suggestions" } });
  input.after(list);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": id, "aria-haspopup": "listbox",
  })) input.setAttribute(name, value);
  let cards = [];
  let active = -1;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    active = -1;
  };
  const activate = (index) => {
    const options = list.querySelectorAll("[role=option]");
    options[active]?.setAttribute("aria-selected", "false");
    active = options.length ? (index + options.length) % options.length : -1;
    const option = options[active];
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  };
  const pick = (card) => {
    close();
    input.value = keepText ? card.title : "";
    choose(card);
  };
  const open = (children) => {
    list.replaceChildren(...children);
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  };
  const show = (answer, text) => {
    cards = answer.tracks;
    active = -1;
    const options = cards.map((card, index) => el(
      "div",
      {
        role: "option", id: `${id}-${index}`, aria: { selected: "false" },
        on: { mousedown: (event) => event.preventDefault(), click: () => pick(card), mousemove: () => active !== index && activate(index) },
      },
      el("span", { class: "who" }, highlighted(card.title, text, "name"), highlighted(by(card), text, "by")),
      el("span", { class: "length" }, time(card.duration)),
    ));
    const more = answer.total - cards.length;
    const note = !cards.length ? `Nothing has all of “${text.trim()}”` : more > 0 ? `${more.toLocaleString("en")} more: type more of the name` : null;
    open([...options, note && el("div", { class: "note" }, note)].filter(Boolean));
    if (cards.length && text.trim()) activate(0);
  };
  const suggest = async () => {
    const text = input.value;
    try {
      const answer = await get("suggest", { q: text, limit: 8 }, id);
      if (input.value === text && document.activeElement === input) show(answer, text);
    } catch (error) {
      if (isStale(error)) return;
      cards = [];
      open([el("div", { class: "note" }, error.message)]);
    }
  };
  const suggestSoon = debounce(suggest, 90);

  input.addEventListener("input", suggestSoon);
  input.addEventListener("click", () => list.hidden && suggest());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const isOpen = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) suggest();
      else activate(active < 0 && event.key === "ArrowUp" ? cards.length - 1 : active + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (isOpen && cards[active]) pick(cards[active]);
      else suggest();
    } else if (event.key === "Escape") {
      if (isOpen) close();
      else input.value = "";
    }
  });
}

/** A name in which the first place of each typed word is marked. */
function highlighted(text, typed, className) {
  const name = bdi("", { class: className });
  const lower = text.toLowerCase();
  const places = typed.toLowerCase().split(/\s+/).filter(Boolean)
    .map((word) => [lower.indexOf(word), word.length])
    .filter(([at]) => at >= 0)
    .sort((a, b) => a[0] - b[0]);
  let end = 0;
  for (const [at, length] of places) {
    // In some languages the lower case has another length than the text, and the places would be wrong.
    if (at < end || lower.length !== text.length) continue;
    name.append(text.slice(end, at), el("mark", {}, text.slice(at, at + length)));
    end = at + length;
  }
  name.append(text.slice(end));
  return name;
}
