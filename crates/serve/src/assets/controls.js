// The controls of the search: hidden states, variety, limits and the rest.

import { byId, el } from "./dom.js";
import { setOptions } from "./search.js";
import { on, store } from "./store.js";

/** Makes the controls, and keeps them at the options. */
export function setUpControls() {
  const sliders = new Map();
  const fields = byId("layers");
  fields.replaceChildren(...store.info.groups.map(({ name }) => {
    const output = el("output", { for: `layer-${name}` });
    const slider = el("input", {
      type: "range", id: `layer-${name}`, min: "0", max: "100", step: "1", value: "100",
      aria: { label: `Weight of hidden state ${name}` }, on: { input: weigh },
    });
    sliders.set(name, { slider, output });
    return el("div", { class: "range-row" }, el("span", {}, name), slider, output);
  }));
  // Of a single hidden state there is nothing to weigh.
  fields.closest("section").hidden = store.info.groups.length < 2;

  function weigh(event) {
    const weights = [...sliders].map(([name, { slider }]) => [name, Number(slider.value)]);
    if (weights.every(([, weight]) => weight === 0)) {
      // Something has to count: the one that was moved last stays.
      event.target.value = "1";
      return weigh(event);
    }
    const all = weights.every(([, weight]) => weight === weights[0][1]);
    const layers = weights.filter(([, weight]) => weight > 0).map(([name, weight]) => `${name}:${weight}`).join(",");
    setOptions({ layers: all ? null : layers });
  }

  const showWeights = () => {
    const given = new Map((store.options.layers ?? "").split(",").filter(Boolean).map((item) => {
      const [name, weight] = item.split(":");
      return [name, Number(weight ?? 1)];
    }));
    const weight = (name) => (store.options.layers ? given.get(name) ?? 0 : 1);
    const sum = [...sliders.keys()].reduce((total, name) => total + weight(name), 0);
    const largest = Math.max(...[...sliders.keys()].map(weight));
    const moving = [...sliders.values()].some(({ slider }) => slider === document.activeElement);
    for (const [name, { slider, output }] of sliders) {
      if (!moving) slider.value = String(largest > 1 ? weight(name) : Math.round(100 * weight(name)));
      const share = `${Math.round((100 * weight(name)) / (sum || 1))} %`;
      output.textContent = share;
      slider.setAttribute("aria-valuetext", share);
    }
  };
  byId("layers-reset").addEventListener("click", () => {
    for (const { slider } of sliders.values()) slider.value = "100";
    setOptions({ layers: null });
  });

  const numbers = { "per-artist": "per_artist", "per-album": "per_album", components: "components", top: "top" };
  for (const [id, name] of Object.entries(numbers)) {
    byId(id).addEventListener("input", (event) => {
      const { value, min, max } = event.target;
      const number = Math.round(Number(value));
      const isValid = value !== "" && number >= Number(min) && number <= Number(max);
      event.target.classList.toggle("invalid", !isValid);
      if (isValid) setOptions({ [name]: number });
    });
  }
  byId("variety").addEventListener("input", (event) => setOptions({ variety: Number(event.target.value) }));
  for (const name of ["center", "csls", "versions"]) {
    byId(name).addEventListener("change", (event) => setOptions({ [name]: event.target.checked }));
  }
  byId("passages").addEventListener("change", (event) => setOptions({ level: event.target.checked ? "passages" : "tracks" }));
  if (!store.info.is_centered) {
    byId("center").disabled = true;
    byId("center").parentElement.append(" (too few tracks)");
  }

  const show = () => {
    const { options } = store;
    showWeights();
    for (const [id, name] of Object.entries(numbers)) {
      if (document.activeElement !== byId(id)) byId(id).value = String(options[name]);
    }
    byId("variety").value = String(options.variety);
    byId("variety-value").textContent = String(Math.round(100 * options.variety) / 100);
    for (const name of ["center", "csls", "versions"]) byId(name).checked = options[name];
    byId("passages").checked = options.level === "passages";
  };
  on("options", show);
  show();
}
