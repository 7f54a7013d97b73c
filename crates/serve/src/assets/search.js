// The search: it is run again whenever seeds or options change, and its address is the page's.

import { ApiError, get, isStale, query } from "./api.js";
import { announce, debounce, toast } from "./dom.js";
import { count } from "./format.js";
import { DEFAULTS, on, searchParameters, store, tell } from "./store.js";

/** Starts a new search from one track or passage. */
export function searchFrom(card, passage = null) {
  store.seeds = [{ card, weight: 1, passage }];
  tell("seeds");
  tell("show", "hits");
  run(true);
}

/** Adds a seed that hits should be like, or with weight -1 unlike. */
export function addSeed(card, weight) {
  store.seeds = store.seeds.filter((seed) => seed.card.id !== card.id);
  store.seeds.push({ card, weight, passage: null });
  tell("seeds");
  run(true);
}

/** Removes a seed. Without one that hits should be like, there is no search. */
export function removeSeed(seed) {
  store.seeds = store.seeds.filter((other) => other !== seed);
  if (!store.seeds.some((other) => other.weight > 0)) store.seeds = [];
  tell("seeds");
  run(true);
}

/** Changes options and searches again at once. */
export function setOptions(changes) {
  Object.assign(store.options, changes);
  tell("options");
  runSoon();
}

const runSoon = debounce(() => run(false), 60);

/** Searches, and keeps the search in the page's address: as a new entry of the history if the seeds are others. */
export async function run(isNew) {
  remember(isNew);
  if (!store.seeds.length) {
    store.answer = null;
    tell("answer");
    return;
  }
  tell("searching");
  try {
    const answer = await get("search", searchParameters(), "search");
    store.answer = answer;
    if (answer.generation !== store.generation) tell("changed", answer.generation);
    tell("answer");
    announce(answer.hits.length ? `${count(answer.hits.length, "result")}` : "Nothing found");
  } catch (error) {
    if (isStale(error)) return;
    tell("failed", error);
  }
}

/** Writes seeds and options into the page's address. */
function remember(isNew) {
  const text = store.seeds.length ? `#${query(searchParameters())}` : location.pathname;
  if (text === (location.hash || location.pathname)) return;
  history[isNew ? "pushState" : "replaceState"](null, "", text);
}

/** Reads seeds and options from the page's address. */
export async function recall() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const options = { ...DEFAULTS };
  const number = (name) => {
    const value = Number(parameters.get(name));
    return parameters.has(name) && Number.isFinite(value) ? value : options[name];
  };
  for (const name of ["variety", "per_artist", "per_album", "components", "top"]) options[name] = number(name);
  options.layers = parameters.get("layers");
  const metric = parameters.get("metric") ?? "";
  options.metric = store.info.metrics.some(({ name }) => name === metric) ? metric : "";
  if (metric && !options.metric) toast(`The server was started without the metric ${metric}.`);
  options.where = parameters.get("where") ?? "";
  options.center = parameters.get("center") !== "false";
  options.csls = parameters.get("csls") === "true";
  options.versions = parameters.get("versions") !== "false";
  options.level = parameters.get("level") === "passages" ? "passages" : "tracks";
  store.options = options;
  const texts = [...parameters.getAll("seed").map((text) => [text, 1]), ...parameters.getAll("minus").map((text) => [text, -1])];
  const seeds = await Promise.all(texts.map(async ([text, weight]) => {
    const [id, times] = text.split("@");
    const passage = times ? times.split("-").map(Number) : null;
    try {
      if (id.startsWith("upload-")) {
        const { state, card } = await get(`uploads/${encodeURIComponent(id)}`);
        return state === "ready" ? { card, weight, passage: null } : null;
      }
      return { card: await get(`tracks/${encodeURIComponent(id)}`), weight, passage };
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        toast(id.startsWith("upload-") ? "The file that was searched from is no longer here: choose it again." : error.message);
        return null;
      }
      throw error;
    }
  }));
  store.seeds = seeds.filter(Boolean);
  if (!store.seeds.some((seed) => seed.weight > 0)) store.seeds = [];
  tell("options");
  tell("seeds");
  await run(false);
}

on("retry", () => run(false));
