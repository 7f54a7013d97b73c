// The player: one audio element. What a browser does not play is asked for again as WAV.

import { announce, bdi, byId, el, glyph, iconButton, toast } from "./dom.js";
import { by, time } from "./format.js";
import { audioAddress, on, passageAddress, tell } from "./store.js";
import { blobOf, isUpload } from "./upload.js";

const audio = el("audio", { preload: "metadata" });
let now = null;
let queue = [];
let parts;

/** The card that plays, and its passage. */
export const playing = () => now;
export const isPlaying = () => now !== null && !audio.paused;

/** Plays a track or a passage; `cards` is the list that `next` goes on in. */
export function play(card, { passage = null, cards = [], then = null } = {}) {
  if (cards.length) queue = cards;
  const blob = isUpload(card) ? blobOf(card) : undefined;
  if (isUpload(card) && !blob) return toast(`The audio of ${card.title} is not on this page any more: choose the file again.`);
  now = { card, passage, then, blob, wav: !blob && (Boolean(passage) || !card.playable) };
  audio.src = blob ?? (now.wav ? passageAddress(card, passage) : audioAddress(card));
  // The passage of a whole file starts where it is in the file.
  if (blob && passage) audio.currentTime = passage[0];
  start();
  show();
  tell("playing");
  const times = passage ? `, ${time(passage[0])} to ${time(passage[1])}` : "";
  announce(`Playing ${card.title}${times}`);
}

/** Plays a track, or pauses it if it plays already. */
export function toggle(card, options = {}) {
  if (now && now.card.id === card.id && !now.passage && !options.passage) {
    if (audio.paused) start();
    else audio.pause();
    return;
  }
  play(card, options);
}

function start() {
  audio.play().catch((error) => {
    // Another source was chosen, or the error event tells the reason.
    if (error.name === "NotAllowedError") toast("The browser wants a click on Play before it plays.");
  });
}

async function failed() {
  if (!now || !audio.error) return;
  const { card, passage } = now;
  if (now.blob) {
    toast(`This browser does not play ${card.file}. It can be searched from nevertheless.`);
    tell("playing");
    return;
  }
  if (!now.wav) {
    // Such as ALAC in M4A, which the name of the file does not tell.
    now.wav = true;
    audio.src = passageAddress(card, null);
    start();
    return;
  }
  let reason = "the browser cannot play it";
  try {
    const response = await fetch(passageAddress(card, passage), { headers: { Range: "bytes=0-0" } });
    if (!response.ok) reason = (await response.json()).error;
  } catch {
    reason = "the server does not answer";
  }
  toast(reason);
  tell("playing");
}

function step(by) {
  const index = queue.findIndex((card) => card.id === now?.card.id);
  const card = queue[index + by];
  if (card) play(card);
  return Boolean(card);
}

/** Makes the player, which appears with the first track. */
export function setUpPlayer() {
  const button = el("button", { type: "button", class: "icon play", aria: { label: "Pause" }, on: { click: () => (audio.paused ? start() : audio.pause()) } });
  const seek = el("input", {
    type: "range", min: "0", max: "1", step: "0.01", value: "0", aria: { label: "Position" },
    on: { input: () => { audio.currentTime = first() + Number(seek.value); showTime(); } },
  });
  parts = {
    button, seek,
    title: bdi("", { class: "name" }), by: bdi("", { class: "by" }),
    at: el("span", {}, "0:00"), length: el("span", {}, "0:00"),
    previous: iconButton("previous", "Previous song", () => step(-1)),
    next: iconButton("next", "Next song", () => step(1)),
    similar: iconButton("search", "Find what sounds like this", () => tell("search-from", now.card)),
  };
  for (const event of ["timeupdate", "durationchange", "seeked", "loadedmetadata"]) audio.addEventListener(event, showTime);
  for (const event of ["play", "pause"]) audio.addEventListener(event, () => { showButton(); tell("playing"); });
  audio.addEventListener("error", failed);
  audio.addEventListener("ended", ended);
  audio.addEventListener("timeupdate", () => {
    if (!now?.blob || !now.passage || audio.paused || audio.currentTime < now.passage[1]) return;
    audio.pause();
    audio.currentTime = now.passage[0];
    ended();
  });
  document.addEventListener("keydown", (event) => {
    const isFree = event.target === document.body || event.target.id === "main";
    if (event.key === " " && now && isFree && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      button.click();
    }
  });
  on("changed", () => { queue = []; });
}

function show() {
  const { card, passage } = now;
  if (!byId("player").firstChild) {
    byId("player").append(el(
      "div", { class: "player-row" },
      el("div", { class: "buttons" }, parts.previous, parts.button, parts.next),
      el("div", {}, parts.title, parts.by),
      el("div", { class: "seek" }, parts.at, parts.seek, parts.length),
      parts.similar,
    ), audio);
  }
  parts.title.textContent = card.title;
  parts.by.textContent = passage ? `Passage ${time(passage[0])}–${time(passage[1])} · ${by(card)}` : by(card);
  parts.by.classList.toggle("passage", Boolean(passage));
  const index = queue.findIndex((other) => other.id === card.id);
  parts.previous.disabled = passage !== null || index < 1;
  parts.next.disabled = passage !== null || index < 0 || index === queue.length - 1;
  showButton();
  showTime();
}

function showButton() {
  const paused = audio.paused;
  parts.button.replaceChildren(glyph(paused ? "play" : "pause"));
  parts.button.setAttribute("aria-label", paused ? "Play" : "Pause");
}

/** The time of the audio at which what is played begins: of a file of one's own the start of the passage. */
const first = () => (now?.blob && now.passage ? now.passage[0] : 0);

function ended() {
  const { then, passage } = now;
  if (then) then();
  else if (!passage) step(1);
}

function showTime() {
  if (!now) return;
  const stated = now.passage ? now.passage[1] - now.passage[0] : now.card.duration;
  const length = Number.isFinite(audio.duration) && !(now.blob && now.passage) ? audio.duration : stated;
  const offset = now.passage ? now.passage[0] : 0;
  const at = Math.max(0, audio.currentTime - first());
  parts.seek.max = String(length || 1);
  parts.seek.value = String(at);
  parts.seek.setAttribute("aria-valuetext", `${time(offset + at)} of ${time(offset + length)}`);
  parts.at.textContent = time(offset + at);
  parts.length.textContent = time(offset + length);
}

