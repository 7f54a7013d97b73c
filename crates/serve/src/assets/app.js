// The page: what is set up when it is loaded, the views, and the keys.

import { get } from "./api.js";
import { combobox } from "./combobox.js";
import { setUpControls } from "./controls.js";
import { byId, el, glyph, toast } from "./dom.js";
import { setUpFilters } from "./filters.js";
import { failure, setUpHits } from "./hits.js";
import { setUpMap } from "./map.js";
import { setUpMetrics } from "./metrics.js";
import { setUpPath } from "./path.js";
import { setUpPlayer } from "./player.js";
import { setUpPlaylist } from "./playlist.js";
import { recall, run, searchFrom } from "./search.js";
import { on, store, tell } from "./store.js";
import { setUpUploads } from "./upload.js";

const VIEWS = ["hits", "map", "path", "list"];

/** Shows a view; its tab is the selected one. */
function show(name, focus = false) {
  for (const view of VIEWS) {
    const isShown = view === name;
    byId(`view-${view}`).hidden = !isShown;
    byId(`tab-${view}`).setAttribute("aria-selected", String(isShown));
    byId(`tab-${view}`).tabIndex = isShown ? 0 : -1;
  }
  if (focus) byId(`tab-${name}`).focus();
  tell("view", name);
}

function setUpTabs() {
  for (const [index, view] of VIEWS.entries()) {
    const tab = byId(`tab-${view}`);
    tab.addEventListener("click", () => show(view));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: VIEWS.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      show(VIEWS[(to + VIEWS.length) % VIEWS.length], true);
    });
  }
  on("show", (name) => show(name));
}

function setUpTheme() {
  const button = byId("theme");
  const draw = () => {
    const name = window.theme.name();
    button.replaceChildren(glyph({ light: "sun", dark: "moon" }[name] ?? "half"));
    button.setAttribute("aria-label", `Theme: ${name}`);
    button.title = `Theme: ${name}`;
  };
  button.addEventListener("click", () => { window.theme.next(); draw(); });
  draw();
}

function setUpKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches?.("input, textarea, select")) return;
    event.preventDefault();
    byId("search").focus();
    byId("search").select();
  });
}

async function loadInfo() {
  store.info = await get("info");
  store.generation = store.info.generation;
  document.title = `${store.info.name} – mert-search`;
}

async function start() {
  setUpTheme();
  setUpTabs();
  setUpKeys();
  // On a narrow screen the controls would push the results out of sight.
  byId("adjust").open = matchMedia("(min-width: 60rem)").matches;
  matchMedia("(min-width: 60rem)").addEventListener("change", (event) => { byId("adjust").open = event.matches; });
  try {
    await loadInfo();
  } catch (error) {
    byId("view-hits").replaceChildren(failure(error));
    on("retry", () => location.reload());
    return;
  }
  setUpPlayer();
  setUpHits();
  setUpControls();
  setUpMetrics();
  setUpUploads();
  setUpMap();
  setUpPath();
  setUpPlaylist();
  setUpFilters();
  combobox(byId("search"), (card) => searchFrom(card));
  byId("home").addEventListener("click", (event) => {
    event.preventDefault();
    store.seeds = [];
    tell("seeds");
    show("hits");
    run(true);
  });
  on("search-from", (card) => searchFrom(card));
  on("changed", async (generation) => {
    store.generation = generation;
    toast("The catalogue has changed.");
    await loadInfo().catch(() => {});
  });
  const recalled = () => recall().catch((error) => byId("view-hits").replaceChildren(failure(error)));
  addEventListener("popstate", recalled);
  await recalled();
}

byId("view-hits").replaceChildren(el("div", { class: "hits", aria: { busy: "true" } }, el("div", { class: "skeleton" })));
start();
