// The choice of a learned metric, beside the weights of hidden states, which are its own.

import { byId, el } from "./dom.js";
import { setOptions } from "./search.js";
import { on, store } from "./store.js";

/** Makes the choice, if the server was started with metrics. */
export function setUpMetrics() {
  const { metrics } = store.info;
  const section = byId("metric-section");
  section.hidden = !metrics.length;
  if (!metrics.length) return;
  const select = byId("metric");
  select.replaceChildren(
    el("option", { value: "" }, "None"),
    ...metrics.map(({ name }) => el("option", { value: name }, name)),
  );
  select.addEventListener("change", () => setOptions({ metric: select.value }));
  const show = () => {
    const { metric } = store.options;
    const chosen = metrics.find(({ name }) => name === metric);
    select.value = chosen ? metric : "";
    byId("metric-note").textContent = chosen ? about(chosen) : "";
    // A metric belongs to one choice of these.
    for (const field of [...byId("layers").querySelectorAll("input"), byId("layers-reset"), byId("components")]) field.disabled = Boolean(chosen);
    byId("center").disabled = Boolean(chosen) || !store.info.is_centered;
  };
  on("options", show);
  show();
}

const percent = (number) => (100 * number).toFixed(1);

/** The gain on artists that a metric was not learned from, and what it reads. */
function about({ layers, is_head, held_out }) {
  const states = layers.map(([name, weight]) => (is_head ? name : `${name} (${Math.round(100 * weight)} %)`)).join(", ");
  const reads = `It reads the hidden state${layers.length === 1 ? "" : "s"} ${states}.`;
  if (!held_out) return `${reads} No gain was measured on judgments of this catalogue.`;
  const [gain, low, high] = held_out.gain;
  const figure = held_out.figure.charAt(0).toUpperCase() + held_out.figure.slice(1);
  return `${figure}, held out: ${percent(held_out.after)} %, and ${percent(held_out.before)} % without it; gain `
    + `${percent(gain)} points (${Math.round(1000 * held_out.level) / 10} % interval ${percent(low)} to ${percent(high)}), `
    + `${held_out.judgments} judgments. ${reads}`;
}
