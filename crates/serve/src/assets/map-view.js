// The drawing of the map: up to some 100,000 points on a canvas, moved and zoomed with mouse, fingers and keys.
//
// Many points are written into the pixels of the canvas at once, which takes a few milliseconds without a graphics card;
// few points are drawn as discs with smooth edges.

import { el } from "./dom.js";

/** Above so many visible points pixels are written. */
const SMOOTH = 4000;
/** The cells of the grid in which the nearest point is looked for, along each side. */
const CELLS = 256;
/** How far the pointer may move during a click, in CSS pixels. */
const STILL = 5;

export class MapView {
  /** A view in `box`. `hover` is called with a track or null and a place, `choose` with a track and whether it is to be searched. */
  constructor(box, { hover, choose }) {
    this.canvas = el("canvas", {
      tabIndex: 0, role: "application",
      aria: { label: "Map of all songs. Arrow keys move, plus and minus zoom, 0 shows all, Tab and Shift+Tab leave, N chooses the song nearest to the middle and then its neighbours." },
    });
    box.prepend(this.canvas);
    this.context = this.canvas.getContext("2d", { alpha: true });
    this.handlers = { hover, choose };
    this.tracks = new Uint32Array(0);
    this.xs = new Float32Array(0);
    this.ys = new Float32Array(0);
    this.colors = new Uint32Array(0);
    this.index = new Map();
    this.seeds = [];
    this.hits = [];
    this.hovered = null;
    this.chosen = null;
    this.scale = 1;
    this.center = [0.5, 0.5];
    this.pointers = new Map();
    new ResizeObserver(() => this.resize()).observe(box);
    this.listen();
  }

  /** Takes `[track, x, y]` for each song. */
  setPoints(points) {
    const count = points.length;
    this.tracks = new Uint32Array(count);
    this.xs = new Float32Array(count);
    this.ys = new Float32Array(count);
    this.index = new Map();
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [, x, y] of points) {
      left = Math.min(left, x); right = Math.max(right, x);
      top = Math.min(top, y); bottom = Math.max(bottom, y);
    }
    // One scale for both axes, with the map in the unit square.
    const size = Math.max(right - left, bottom - top) || 1;
    points.forEach(([track, x, y], index) => {
      this.tracks[index] = track;
      this.xs[index] = 0.5 + (x - (left + right) / 2) / size;
      this.ys[index] = 0.5 - (y - (top + bottom) / 2) / size;
      this.index.set(track, index);
    });
    this.aspect = [(right - left) / size || 1, (bottom - top) / size || 1];
    this.colors = new Uint32Array(count);
    this.styles = new Array(count).fill("#888");
    this.fillGrid();
    this.reset();
  }

  /** Takes the CSS colour of each track. */
  setColors(color) {
    const packed = new Map();
    const probe = this.context;
    for (let index = 0; index < this.tracks.length; index += 1) {
      const style = color(this.tracks[index]);
      if (!packed.has(style)) {
        probe.fillStyle = style;
        const value = parseInt(String(probe.fillStyle).slice(1), 16);
        // Bytes in the order red, green, blue, alpha on a little-endian machine.
        packed.set(style, (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0);
      }
      this.styles[index] = style;
      this.colors[index] = packed.get(style);
    }
    this.draw();
  }

  /** Takes the tracks that are seeds and hits, which are drawn on top. */
  setMarks(seeds, hits) {
    this.seeds = seeds;
    this.hits = hits;
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [w, h] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.pixels = null;
    }
    this.draw();
  }

  reset() {
    this.center = [0.5, 0.5];
    this.scale = 1;
    this.draw();
  }

  /** The size of the unit square in pixels of the canvas. */
  get side() {
    const [w, h] = this.aspect ?? [1, 1];
    return 0.92 * Math.min(this.canvas.width / w, this.canvas.height / h) * this.scale;
  }

  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const before = this.side;
    this.scale = Math.min(400, Math.max(0.5, this.scale * factor));
    const after = this.side;
    this.center[0] += (x - this.canvas.width / 2) * (1 / before - 1 / after);
    this.center[1] += (y - this.canvas.height / 2) * (1 / before - 1 / after);
    this.draw();
  }

  pan(dx, dy) {
    this.center[0] -= dx / this.side;
    this.center[1] -= dy / this.side;
    this.draw();
  }

  /** The place of a point in pixels of the canvas. */
  place(index) {
    const side = this.side;
    return [
      (this.xs[index] - this.center[0]) * side + this.canvas.width / 2,
      (this.ys[index] - this.center[1]) * side + this.canvas.height / 2,
    ];
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    const { width, height } = this.canvas;
    if (!width || !height) return;
    const started = performance.now();
    const context = this.context;
    const side = this.side;
    const [left, top] = [this.center[0] - width / 2 / side, this.center[1] - height / 2 / side];
    const visible = [];
    const [right, bottom] = [left + width / side, top + height / side];
    for (let index = 0; index < this.xs.length; index += 1) {
      const x = this.xs[index];
      const y = this.ys[index];
      if (x >= left && x <= right && y >= top && y <= bottom) visible.push(index);
    }
    const radius = this.ratio * Math.min(6, Math.max(1, 90 / Math.sqrt(visible.length + 1) * Math.min(1.6, this.scale ** 0.25)));
    if (visible.length > SMOOTH) this.paintPixels(visible, left, top, side, Math.max(1, Math.round(radius)));
    else this.paintDiscs(visible, radius);
    this.paintMarks(radius);
    this.milliseconds = performance.now() - started;
    context.globalAlpha = 1;
  }

  paintPixels(visible, left, top, side, radius) {
    const { width, height } = this.canvas;
    this.pixels ??= this.context.createImageData(width, height);
    const words = new Uint32Array(this.pixels.data.buffer);
    words.fill(0);
    for (const index of visible) {
      const x = Math.round((this.xs[index] - left) * side);
      const y = Math.round((this.ys[index] - top) * side);
      const color = this.colors[index];
      for (let row = Math.max(0, y - radius + 1); row < Math.min(height, y + radius); row += 1) {
        const line = row * width;
        const end = Math.min(width, x + radius);
        for (let column = Math.max(0, x - radius + 1); column < end; column += 1) words[line + column] = color;
      }
    }
    this.context.putImageData(this.pixels, 0, 0);
  }

  paintDiscs(visible, radius) {
    const context = this.context;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.globalAlpha = 0.85;
    for (const index of visible) {
      const [x, y] = this.place(index);
      context.fillStyle = this.styles[index];
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  paintMarks(radius) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const context = this.context;
    const ring = (track, size, stroke, fill) => {
      const index = this.index.get(track);
      if (index === undefined) return;
      const [x, y] = this.place(index);
      context.beginPath();
      context.arc(x, y, size, 0, 2 * Math.PI);
      if (fill) { context.fillStyle = fill; context.fill(); }
      context.lineWidth = 2 * this.ratio;
      context.strokeStyle = stroke;
      context.stroke();
    };
    const big = Math.max(radius + 2.5 * this.ratio, 5.5 * this.ratio);
    for (const track of this.hits) ring(track, big, color("--text"), color("--accent"));
    for (const track of this.seeds) ring(track, big * 1.35, color("--text"), color("--other"));
    for (const track of [this.hovered, this.chosen]) if (track !== null) ring(track, big * 1.25, color("--text"), null);
  }

  fillGrid() {
    const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value * CELLS)));
    this.grid = new Map();
    for (let index = 0; index < this.xs.length; index += 1) {
      const key = cell(this.ys[index]) * CELLS + cell(this.xs[index]);
      const list = this.grid.get(key);
      if (list) list.push(index);
      else this.grid.set(key, [index]);
    }
  }

  /** The track nearest to a place in pixels of the canvas, if one is near enough; `except` are left out. */
  nearest(x, y, reach = 14 * (this.ratio ?? 1), except = null) {
    const side = this.side;
    const px = (x - this.canvas.width / 2) / side + this.center[0];
    const py = (y - this.canvas.height / 2) / side + this.center[1];
    const span = reach / side;
    const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value * CELLS)));
    let best = null;
    let least = span * span;
    for (let row = cell(py - span); row <= cell(py + span); row += 1) {
      for (let column = cell(px - span); column <= cell(px + span); column += 1) {
        for (const index of this.grid?.get(row * CELLS + column) ?? []) {
          const distance = (this.xs[index] - px) ** 2 + (this.ys[index] - py) ** 2;
          if (distance <= least && !except?.has(this.tracks[index])) {
            least = distance;
            best = this.tracks[index];
          }
        }
      }
    }
    return best;
  }

  listen() {
    const { canvas } = this;
    const at = (event) => [event.offsetX * this.ratio, event.offsetY * this.ratio];
    canvas.addEventListener("pointerdown", (event) => {
      try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is already gone */ }
      this.pointers.set(event.pointerId, { at: at(event), start: at(event), moved: false });
    });
    canvas.addEventListener("pointermove", (event) => {
      const pointer = this.pointers.get(event.pointerId);
      const place = at(event);
      if (!pointer) return this.hover(event, place);
      const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId);
      if (others.length) {
        // Two fingers: the distance between them zooms.
        const [x, y] = others[0][1].at;
        const distance = ([a, b]) => Math.hypot(a - x, b - y) || 1;
        this.zoom(distance(place) / distance(pointer.at), (place[0] + x) / 2, (place[1] + y) / 2);
        pointer.moved = true;
      } else {
        if (Math.hypot(place[0] - pointer.start[0], place[1] - pointer.start[1]) > STILL * this.ratio) pointer.moved = true;
        if (pointer.moved) this.pan(place[0] - pointer.at[0], place[1] - pointer.at[1]);
      }
      pointer.at = place;
    });
    const release = (event) => {
      const pointer = this.pointers.get(event.pointerId);
      this.pointers.delete(event.pointerId);
      if (event.type !== "pointerup" || !pointer || pointer.moved) return;
      this.choose(this.nearest(...at(event)), false);
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => { this.hovered = null; this.handlers.hover(null); this.draw(); });
    canvas.addEventListener("dblclick", (event) => {
      const track = this.nearest(...at(event));
      if (track !== null) this.choose(track, true);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...at(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  hover(event, place) {
    const track = this.nearest(...place);
    if (track === this.hovered) return;
    this.hovered = track;
    this.handlers.hover(track, event.offsetX, event.offsetY);
    this.draw();
  }

  choose(track, isSearch) {
    this.chosen = track;
    this.draw();
    this.handlers.choose(track, isSearch);
  }

  key(event) {
    const step = 60 * (this.ratio ?? 1);
    const actions = {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0),
      ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
      "+": () => this.zoom(1.4), "=": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.reset(),
      n: () => this.chooseNext(), Escape: () => this.choose(null, false), Enter: () => this.chosen !== null && this.choose(this.chosen, true),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  }

  /** Chooses the song nearest to the middle, and after it the next nearest. */
  chooseNext() {
    const place = [this.canvas.width / 2, this.canvas.height / 2];
    const state = `${this.center} ${this.scale}`;
    if (this.visited?.state !== state) this.visited = { state, tracks: new Set() };
    const track = this.nearest(...place, Math.max(...place), this.visited.tracks);
    if (track === null) return;
    this.visited.tracks.add(track);
    this.choose(track, false);
  }
}
