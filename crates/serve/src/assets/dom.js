// Elements from data. Texts become text nodes and never markup.

/** An element with properties and children; `class`, `data`, `aria` and `on` are set as what they are. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "aria") for (const [key, state] of Object.entries(value)) element.setAttribute(`aria-${key}`, state);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && name !== "role" && name !== "for") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** A text whose direction is its own, so that a right-to-left title does not turn what is beside it. */
export const bdi = (text, properties = {}) => el("bdi", { dir: "auto", ...properties }, text);

export const byId = (id) => document.getElementById(id);

const GLYPHS = {
  play: [["path", { d: "M8 5.500v13l11-6.500z", class: "solid" }]],
  pause: [["path", { d: "M7 5h3.500v14H7zM13.500 5H17v14h-3.500z", class: "solid" }]],
  next: [["path", { d: "M6 6l8 6-8 6z", class: "solid" }], ["path", { d: "M17.500 6v12" }]],
  previous: [["path", { d: "M18 6l-8 6 8 6z", class: "solid" }], ["path", { d: "M6.500 6v12" }]],
  plus: [["path", { d: "M12 5v14M5 12h14" }]],
  minus: [["path", { d: "M5 12h14" }]],
  close: [["path", { d: "M6 6l12 12M18 6L6 18" }]],
  list: [["path", { d: "M4 7h11M4 12h11M4 17h6M18 13v6M15 16h6" }]],
  check: [["path", { d: "M5 12.500l4.500 4.500L19 7.500" }]],
  search: [["circle", { cx: 11, cy: 11, r: 6 }], ["path", { d: "M15.500 15.500L20 20" }]],
  upload: [["path", { d: "M12 15V4M7.500 8.500L12 4l4.500 4.500M5 15v4h14v-4" }]],
  why: [["path", { d: "M5 19V11M12 19V5M19 19v-5" }]],
  up: [["path", { d: "M6 14l6-6 6 6" }]],
  down: [["path", { d: "M6 10l6 6 6-6" }]],
  home: [["path", { d: "M4 4h6M4 4v6M20 4h-6M20 4v6M4 20h6M4 20v-6M20 20h-6M20 20v-6" }]],
  sun: [["circle", { cx: 12, cy: 12, r: 4 }], ["path", { d: "M12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600l1.400 1.400M17 17l1.400 1.400M5.600 18.400L7 17M17 7l1.400-1.400" }]],
  moon: [["path", { d: "M19 14.500A8 8 0 0 1 9.500 5a7.500 7.500 0 1 0 9.500 9.500z" }]],
  half: [["circle", { cx: 12, cy: 12, r: 7.5 }], ["path", { d: "M12 4.500a7.500 7.500 0 0 1 0 15z", class: "solid" }]],
};

/** A drawn sign, which screen readers pass over. */
export function glyph(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("aria-hidden", "true");
  for (const [tag, attributes] of GLYPHS[name]) {
    const shape = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
  }
  return svg;
}

/** A round button with a sign and a name. */
export const iconButton = (name, label, onclick, properties = {}) => el(
  "button",
  { type: "button", class: "icon", title: label, aria: { label }, on: { click: onclick }, ...properties },
  glyph(name),
);

/** Says something to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}

/** Shows a message for some seconds. */
export function toast(text) {
  const message = el("div", { class: "toast" }, text);
  byId("toasts").append(message);
  setTimeout(() => message.remove(), 7000);
}

/** Calls a function once after the last call within `milliseconds`. */
export function debounce(handler, milliseconds) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => handler(...values), milliseconds);
  };
}
