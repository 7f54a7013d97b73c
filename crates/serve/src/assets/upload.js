// Files of one's own to search from: chosen or dropped, sent, and embedded by the server. Their audio stays in the browser.

import { ApiError, get } from "./api.js";
import { announce, bdi, byId, el, glyph, iconButton, toast } from "./dom.js";
import { searchFrom } from "./search.js";
import { store } from "./store.js";

/** The addresses of the audio of files that were sent from this page, by identifier. */
const blobs = new Map();

/** Whether a card is that of a file that was sent. */
export const isUpload = (card) => card.track === null || card.track === undefined;

/** The address of the audio of a file that was sent from this page. */
export const blobOf = (card) => blobs.get(card.id);

/** Whether something is being sent or embedded. */
let running = null;

/** Makes the field and the whole page take files, if the server has the model. */
export function setUpUploads() {
  const { uploads } = store.info;
  const button = byId("upload");
  button.hidden = !uploads.is_enabled;
  button.replaceChildren(glyph("upload"));
  if (!uploads.is_enabled) return;
  const chooser = byId("upload-file");
  button.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    if (chooser.files[0]) take(chooser.files[0]);
    chooser.value = "";
  });
  const zone = byId("drop");
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (isShown) => { zone.hidden = !isShown; };
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; show(true); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event)) { depth = Math.max(0, depth - 1); show(depth > 0); } });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    const { files } = event.dataTransfer;
    if (files.length > 1) toast("One file at a time: the first is taken.");
    if (files[0]) take(files[0]);
  });
}

/** What the empty view says about files of one's own. */
export function uploadHint() {
  const { uploads } = store.info;
  if (!uploads.is_enabled) {
    return el(
      "p", { class: "hint" }, "To search from a file that is not in the catalogue, start the server with its model: ",
      el("code", {}, "mert-search serve CATALOGUE --model MODEL"),
    );
  }
  return el(
    "div", { class: "own" },
    el("button", { type: "button", class: "plain", on: { click: () => byId("upload-file").click() } }, glyph("upload"), "Choose a file of your own"),
    el("span", { class: "hint" }, "or drop it anywhere on this page. It is not added to the catalogue."),
  );
}

/** Sends a file and searches from it. */
async function take(file) {
  const { most_bytes } = store.info.uploads;
  if (running) return toast("One file at a time: wait for the one that is being embedded, or cancel it.");
  if (file.size > most_bytes) return toast(`${file.name} is too large: expected at most ${Math.floor(most_bytes / 2 ** 20)} MiB.`);
  const job = { cancelled: false, abort: null };
  running = job;
  const bar = el("progress", { max: 1, value: 0, aria: { label: `Progress of ${file.name}` } });
  const text = el("span", { class: "hint" }, "Sending…");
  const box = el(
    "div", { class: "upload", role: "group", aria: { label: file.name } },
    bdi(file.name, { class: "label" }), bar, text,
    iconButton("close", `Cancel ${file.name}`, () => { job.cancelled = true; job.abort?.(); finish(); }),
  );
  const finish = () => { box.remove(); if (running === job) running = null; };
  byId("upload-state").replaceChildren(box);
  announce(`Sending ${file.name}`);
  const show = (part, words) => {
    if (part === null) bar.removeAttribute("value");
    else bar.value = part;
    text.textContent = part === null ? words : `${words} ${Math.round(100 * part)} %`;
  };
  try {
    let state = await send(file, job, (part) => show(part, "Sending"));
    announce(`Embedding ${file.name}`);
    while (!job.cancelled && ["waiting", "embedding"].includes(state.state)) {
      show(state.state === "waiting" ? null : state.progress, state.state === "waiting" ? "Waiting for other files…" : state.progress === null ? "Embedding…" : "Embedding");
      await new Promise((resolve) => { setTimeout(resolve, 300); });
      if (!job.cancelled) state = await get(`uploads/${encodeURIComponent(state.id)}`);
    }
    if (job.cancelled) return;
    if (state.state === "failed") throw new ApiError(400, state.reason);
    if (!blobs.has(state.id)) blobs.set(state.id, URL.createObjectURL(file));
    searchFrom(state.card);
  } catch (error) {
    if (!job.cancelled) {
      toast(error.message);
      announce(error.message);
    }
  } finally {
    finish();
  }
}

/** Sends a file as the body of a request. Only XMLHttpRequest tells how much of a body is sent. */
function send(file, job, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    job.abort = () => request.abort();
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* The status tells what is wrong. */ }
      if (request.status < 300) resolve(body);
      else reject(new ApiError(request.status, body.error ?? request.statusText));
    });
    for (const event of ["error", "timeout"]) {
      request.addEventListener(event, () => reject(new ApiError(0, "The file could not be sent: the server does not answer.")));
    }
    request.addEventListener("abort", () => reject(new ApiError(0, "Cancelled.")));
    request.open("POST", `/api/v1/uploads?name=${encodeURIComponent(file.name)}`);
    request.send(file);
  });
}
