// Numbers and names as people read them.

/** Seconds as 3:07 or 1:02:03. */
export function time(seconds) {
  if (!Number.isFinite(seconds)) return "–:––";
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Seconds as 3 min, 5 h or 12 days. */
export function span(seconds) {
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** A cosine with three decimals and a true minus. */
export const cosine = (number) => signed(number, 3, false);

/** A number with decimals, a true minus, and a plus if wanted. */
export function signed(number, decimals = 3, plus = true) {
  const text = Math.abs(number).toFixed(decimals);
  const isZero = Number(text) === 0;
  return `${!isZero && number < 0 ? "−" : plus && !isZero ? "+" : ""}${text}`;
}

/** A percentile; 100 is shown as "> 99.9", since there are pairs that were not drawn. */
export function percentile(number) {
  if (number >= 99.95) return "> 99.9";
  return number >= 99 || number < 1 ? number.toFixed(1) : number.toFixed(0);
}

/** Artist and album, as far as they are known. */
export const by = (card) => [card.artist ?? "Unknown artist", card.album].filter(Boolean).join(" · ");

/** The value of a column: a duration as 3:37, loudness in LUFS, another number with the digits that it is known to, a text as it is. */
export function known(column, number) {
  if (typeof number !== "number") return number;
  if (column === "duration") return time(number);
  if (column === "loudness") return `${signed(number, 1, false)} LUFS`;
  if (String(number).length <= 6) return String(number).replace("-", "−");
  const digits = /loudness|bpm|tempo|duration|lufs|gain|peak|lra/.test(column) || Math.abs(number) >= 1000 ? 1 : 4;
  const rounded = Number(number.toFixed(digits));
  return String(rounded === 0 && number !== 0 ? Number(number.toPrecision(4)) : rounded).replace("-", "−");
}

/** A count with its noun. */
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
