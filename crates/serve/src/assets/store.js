// What the views share: the catalogue, the seeds, the options of the search, and its answer.

/** The options of a search before anything is changed. */
export const DEFAULTS = {
  layers: null,
  metric: "",
  variety: 0,
  per_artist: 3,
  per_album: 2,
  where: "",
  center: true,
  csls: false,
  components: 0,
  level: "tracks",
  versions: true,
  top: 20,
};

export const store = {
  /** The answer of `info`. */
  info: null,
  /** What the search starts from: `{ card, weight, passage }`. */
  seeds: [],
  options: { ...DEFAULTS },
  /** The answer of the last search; null before one. */
  answer: null,
  generation: undefined,
};

const listeners = new Map();

/** Calls a function whenever a topic is told. */
export function on(topic, listener) {
  listeners.set(topic, [...(listeners.get(topic) ?? []), listener]);
}

/** Tells a topic. */
export function tell(topic, ...values) {
  for (const listener of listeners.get(topic) ?? []) listener(...values);
}

/** The parameters of the geometry, which searches, reasons, paths and maps share. */
export function geometry() {
  const { layers, metric, center, csls, components } = store.options;
  const hubs = { csls: csls ? "true" : undefined };
  // A metric has hidden states, centring and components of its own.
  if (metric) return { metric, ...hubs };
  return {
    layers: layers ?? undefined,
    center: center ? undefined : "false",
    components: components || undefined,
    ...hubs,
  };
}

/** A seed as the API reads it. */
const seedText = ({ card, passage }) => (passage ? `${card.id}@${passage[0]}-${passage[1]}` : card.id);

/** The seeds as parameters. */
export const seedParameters = () => ({
  seed: store.seeds.filter((seed) => seed.weight > 0).map(seedText),
  minus: store.seeds.filter((seed) => seed.weight < 0).map(seedText),
});

/** The parameters of the search. */
export function searchParameters() {
  const { options } = store;
  const unlessDefault = (name) => (options[name] === DEFAULTS[name] ? undefined : options[name]);
  return {
    ...seedParameters(),
    ...geometry(),
    where: options.where,
    variety: unlessDefault("variety"),
    per_artist: unlessDefault("per_artist"),
    per_album: unlessDefault("per_album"),
    level: unlessDefault("level"),
    versions: options.versions ? undefined : "false",
    top: options.top,
  };
}

/**
 * The audio of a track, or of a passage of it. Cards are kept longer than the numbers of tracks are valid: identifiers name
 * the same track in every generation.
 */
export const audioAddress = (card) => `/audio/${encodeURIComponent(card.id)}`;
export const passageAddress = (card, passage) => `${audioAddress(card)}/passage${passage ? `?start=${passage[0]}&end=${passage[1]}` : ""}`;
