// The playlist: songs that were put together, kept in the browser, and downloads of it.

import { query } from "./api.js";
import { announce, bdi, byId, el, glyph, iconButton, toast } from "./dom.js";
import { by, count, span, time } from "./format.js";
import { play } from "./player.js";
import { store } from "./store.js";
import { isUpload } from "./upload.js";

let cards = [];
const listeners = [];

/** Calls a function whenever the list changes. */
export const onListChange = (listener) => listeners.push(listener);
export const isListed = (card) => cards.some((other) => other.id === card.id);

/** Adds songs that are not in the list. */
export function addToList(more) {
  // A file of one's own has no path that a player could find.
  const added = more.filter((card) => !isUpload(card) && !isListed(card)).map(({ track, id, file, title, artist, album, duration, playable }) => (
    { track, id, file, title, artist, album, duration, playable }
  ));
  cards.push(...added);
  changed();
  announce(added.length ? `${count(added.length, "song")} added to the playlist` : "Already in the playlist");
}

export function removeFromList(card) {
  cards = cards.filter((other) => other.id !== card.id);
  changed();
  announce(`${card.title} removed from the playlist`);
}

const key = () => `playlist ${store.info.name} ${store.info.model_sha256}`;

function changed() {
  try {
    localStorage.setItem(key(), JSON.stringify(cards));
  } catch {
    // Private windows may keep nothing; the list lasts until the page is left.
  }
  draw();
  listeners.forEach((listener) => listener());
}

/** Makes the view, with the list of the last visit. */
export function setUpPlaylist() {
  try {
    const kept = JSON.parse(localStorage.getItem(key()) ?? "[]");
    if (Array.isArray(kept)) cards = kept.filter((card) => typeof card?.id === "string" && typeof card.title === "string");
  } catch {
    cards = [];
  }
  draw();
  listeners.forEach((listener) => listener());
}

function draw() {
  byId("list-count").textContent = cards.length ? `(${cards.length})` : "";
  const view = byId("view-list");
  if (!cards.length) {
    view.replaceChildren(el(
      "div", { class: "empty" }, el("h2", {}, "The playlist is empty"),
      el("p", {}, "Add songs with ", glyph("list"), " beside a result, or all results or a whole path at once."),
    ));
    return;
  }
  const name = el("input", { type: "text", value: "Sounds alike", maxLength: 80 });
  const download = (format) => el(
    "button", { type: "button", class: "plain", on: { click: () => save(format, name.value) } }, `.${format}`,
  );
  view.replaceChildren(
    el(
      "div", { class: "list-tools" },
      el("label", { class: "field" }, "Name", name),
      el("button", { type: "button", class: "primary", on: { click: () => play(cards[0], { cards }) } }, glyph("play"), "Play"),
      el("span", { role: "group", aria: { label: "Download as" } }, download("m3u8"), " ", download("xspf"), " ", download("jspf")),
      el("button", { type: "button", class: "plain", on: { click: () => { cards = []; changed(); byId("tab-list").focus(); } } }, "Clear"),
    ),
    el("p", { class: "hint" }, `${count(cards.length, "song")}, ${span(cards.reduce((sum, card) => sum + card.duration, 0))}`),
    el("ol", { class: "steps", aria: { label: "Playlist" } }, cards.map(item)),
  );
}

function item(card, index) {
  const move = (to, action) => {
    cards.splice(index, 1);
    cards.splice(to, 0, card);
    changed();
    byId("view-list").querySelectorAll("li")[to].querySelector(`[data-action=${action}]`).focus();
    announce(`${card.title} is now number ${to + 1}`);
  };
  return el(
    "li", {},
    el("button", { type: "button", class: "icon play", aria: { label: `Play ${card.title}` }, on: { click: () => play(card, { cards }) } }, glyph("play")),
    el("div", { class: "who" }, el("span", { class: "name" }, el("span", { class: "rank" }, `${index + 1} `), bdi(card.title)), el("span", { class: "by" }, bdi(by(card)))),
    el("span", { class: "length" }, time(card.duration)),
    el(
      "div", { class: "actions" },
      iconButton("up", `Move ${card.title} up`, () => move(index - 1, "up"), { disabled: index === 0, data: { action: "up" } }),
      iconButton("down", `Move ${card.title} down`, () => move(index + 1, "down"), { disabled: index === cards.length - 1, data: { action: "down" } }),
      iconButton("close", `Remove ${card.title}`, () => removeFromList(card)),
    ),
  );
}

async function save(format, name) {
  const response = await fetch(`/api/v1/playlist?${query({ tracks: cards.map((card) => card.id).join(","), format, name })}`).catch(() => null);
  if (!response?.ok) {
    toast(response ? (await response.json()).error : "The server does not answer.");
    return;
  }
  const address = URL.createObjectURL(await response.blob());
  const file = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? `playlist.${format}`;
  const link = el("a", { href: address, download: file, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
