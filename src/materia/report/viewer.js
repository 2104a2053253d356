"use strict";
/* Draws a crystal on a plain 2D canvas: shaded spheres, two-coloured bonds, cell edges, sorted by depth.
   No WebGL, so any number of structures fits on a page and it works wherever a canvas does. */
const CrystalViewer = (() => {
  const SPRITE = 128, FOG = 6, EDGE_PARTS = 10, BOND = 0.13;
  const sprites = new Map();

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const mix = (a, b, t) => a.map((v, i) => Math.round(v + (b[i] - v) * t));
  const css = (c, alpha = 1) => `rgba(${c[0]},${c[1]},${c[2]},${alpha})`;

  function fogColour() {
    const probe = getComputedStyle(document.documentElement).getPropertyValue("--paper").trim();
    return /^#[0-9a-f]{6}$/i.test(probe) ? rgb(probe) : [245, 244, 240];
  }

  /* A sphere lit from the upper left, drawn once for each colour and each degree of fog. */
  function sprite(hex, fog, paper) {
    const key = `${hex}/${fog}/${paper}`;
    if (sprites.has(key)) return sprites.get(key);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SPRITE;
    const g = canvas.getContext("2d"), r = SPRITE / 2 - 1, depth = (fog / FOG) * 0.5;
    const base = rgb(hex), fogged = (c) => mix(c, paper, depth);
    const shade = g.createRadialGradient(r * 0.68, r * 0.6, r * 0.04, r, r, r * 1.02);
    shade.addColorStop(0, css(fogged(mix(base, [255, 255, 255], 0.82))));
    shade.addColorStop(0.22, css(fogged(mix(base, [255, 255, 255], 0.28))));
    shade.addColorStop(0.6, css(fogged(base)));
    shade.addColorStop(0.9, css(fogged(mix(base, [10, 14, 20], 0.42))));
    shade.addColorStop(1, css(fogged(mix(base, [10, 14, 20], 0.58))));
    g.fillStyle = shade;
    g.beginPath();
    g.arc(SPRITE / 2, SPRITE / 2, r, 0, 2 * Math.PI);
    g.fill();
    sprites.set(key, canvas);
    return canvas;
  }

  const times = (m, v) => [0, 1, 2].map((i) => m[3 * i] * v[0] + m[3 * i + 1] * v[1] + m[3 * i + 2] * v[2]);
  const product = (a, b) => [0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j]));
  const turnX = (t) => [1, 0, 0, 0, Math.cos(t), -Math.sin(t), 0, Math.sin(t), Math.cos(t)];
  const turnY = (t) => [Math.cos(t), 0, Math.sin(t), 0, 1, 0, -Math.sin(t), 0, Math.cos(t)];
  const between = (a, b, t) => a.map((v, i) => v + (b[i] - v) * t);
  /* a across, c up, b away from the reader, then turned a little. Screen y points down, so the determinant is -1. */
  const start = () => product(product(turnX(-0.26), turnY(-0.5)), [1, 0, 0, 0, 0, -1, 0, -1, 0]);

  class Viewer {
    constructor(canvas, scene, options = {}) {
      this.canvas = canvas;
      this.scene = scene;
      this.rotation = start();
      this.zoom = 1;
      this.wheel = Boolean(options.wheel);
      this.cell = this.edges();
      const reach = [...scene.atoms.map((a) => Math.hypot(a[0], a[1], a[2]) + this.radius(a)), ...this.cell.map(([p]) => Math.hypot(...p))];
      this.extent = Math.max(...reach);
      canvas.setAttribute("role", "img");
      const names = scene.elements.map((e) => e.s).join(", ");
      canvas.setAttribute("aria-label", `Crystal structure of ${scene.formula}: ${scene.n_atoms} atoms (${names}) in the cell shown, space group ${scene.spacegroup || "not found"}. Drag or use the arrow keys to turn it.`);
      this.listen();
      new ResizeObserver(() => this.draw()).observe(canvas);
      this.draw();
    }

    radius(atom) { return 0.22 + 0.3 * this.scene.elements[atom[3]].r; }

    /* The twelve edges, each ending at the surface of an atom that sits on its corner. */
    edges() {
      const { cell, origin } = this.scene, corners = [];
      const corner = (i, j, k) => origin.map((o, x) => o + i * cell[0][x] + j * cell[1][x] + k * cell[2][x]);
      for (const [u, v] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        corners.push([corner(0, u, v), corner(1, u, v)], [corner(u, 0, v), corner(u, 1, v)], [corner(u, v, 0), corner(u, v, 1)]);
      }
      const room = (p) => Math.max(0, ...this.scene.atoms.filter((a) => Math.hypot(a[0] - p[0], a[1] - p[1], a[2] - p[2]) < 0.05).map((a) => this.radius(a) * 0.9));
      return corners.map(([p, q]) => {
        const length = Math.hypot(q[0] - p[0], q[1] - p[1], q[2] - p[2]);
        return [between(p, q, room(p) / length), between(q, p, room(q) / length)];
      });
    }

    listen() {
      const { canvas } = this, pointers = new Map();
      let pinch = 0;
      canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); pointers.set(e.pointerId, [e.clientX, e.clientY]); });
      const up = (e) => { pointers.delete(e.pointerId); pinch = 0; };
      canvas.addEventListener("pointerup", up);
      canvas.addEventListener("pointercancel", up);
      canvas.addEventListener("pointermove", (e) => {
        const before = pointers.get(e.pointerId);
        if (!before) return;
        pointers.set(e.pointerId, [e.clientX, e.clientY]);
        if (pointers.size === 2) {
          const [p, q] = [...pointers.values()], gap = Math.hypot(p[0] - q[0], p[1] - q[1]);
          if (pinch) this.scale(gap / pinch);
          pinch = gap;
        } else {
          this.turn((e.clientX - before[0]) * 0.009, (e.clientY - before[1]) * 0.009);
        }
      });
      canvas.addEventListener("wheel", (e) => {
        if (!this.wheel && !e.ctrlKey) return;
        e.preventDefault();
        this.scale(Math.exp(-e.deltaY * 0.0015));
      }, { passive: false });
      canvas.addEventListener("dblclick", () => this.reset());
      canvas.addEventListener("keydown", (e) => {
        const step = 0.14, act = {
          ArrowLeft: () => this.turn(-step, 0), ArrowRight: () => this.turn(step, 0), ArrowUp: () => this.turn(0, -step),
          ArrowDown: () => this.turn(0, step), "+": () => this.scale(1.15), "-": () => this.scale(1 / 1.15), 0: () => this.reset(),
        }[e.key];
        if (act) { e.preventDefault(); act(); }
      });
    }

    turn(x, y) { this.rotation = product(product(turnX(-y), turnY(x)), this.rotation); this.draw(); }
    scale(factor) { this.zoom = Math.min(8, Math.max(0.4, this.zoom * factor)); this.draw(); }
    reset() { this.rotation = start(); this.zoom = 1; this.draw(); }
    /* Look along cell vector 0, 1 or 2. */
    along(axis) {
      const d = this.scene.cell[axis].map((v) => v / Math.hypot(...this.scene.cell[axis]));
      const hint = this.scene.cell[(axis + 2) % 3];
      const dot = hint[0] * d[0] + hint[1] * d[1] + hint[2] * d[2];
      let u = hint.map((v, i) => v - dot * d[i]);
      const n = Math.hypot(...u);
      u = u.map((v) => v / n);
      const r = [u[1] * d[2] - u[2] * d[1], u[2] * d[0] - u[0] * d[2], u[0] * d[1] - u[1] * d[0]];
      this.rotation = [...r, ...u.map((v) => -v), ...d.map((v) => v)];
      this.draw();
    }

    draw() {
      const { canvas, scene } = this, ratio = Math.min(window.devicePixelRatio || 1, 2.5);
      const width = canvas.clientWidth, height = canvas.clientHeight;
      if (!width || !height) return;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const g = canvas.getContext("2d"), paper = fogColour();
      g.setTransform(ratio, 0, 0, ratio, width / 2 * ratio, height / 2 * ratio);
      const scale = this.zoom * Math.min(width, height) / 2.16 / this.extent, eye = this.extent * 5;
      const seen = (p) => { const [x, y, z] = times(this.rotation, p), f = eye / (eye - z); return [x * scale * f, y * scale * f, z, f]; };
      const fog = (z) => Math.max(0, Math.min(FOG, Math.round(FOG * (0.5 - z / (2 * this.extent)))));
      const things = [];
      const ink = mix(paper, paper[0] > 128 ? [0, 0, 0] : [255, 255, 255], 0.55);
      for (const [a, b] of this.cell) {
        for (let k = 0; k < EDGE_PARTS; k++) {
          const p = seen(between(a, b, k / EDGE_PARTS)), q = seen(between(a, b, (k + 1) / EDGE_PARTS));
          things.push([(p[2] + q[2]) / 2, () => this.stroke(g, p, q, 1.1, css(mix(ink, paper, fog((p[2] + q[2]) / 2) / FOG * 0.55)))]);
        }
      }
      for (const atom of scene.atoms) {
        const p = seen(atom), r = this.radius(atom) * scale * p[3];
        things.push([p[2], () => g.drawImage(sprite(scene.elements[atom[3]].colour, fog(p[2]), paper), p[0] - r, p[1] - r, 2 * r, 2 * r)]);
      }
      for (const [i, j] of scene.bonds) {
        const a = scene.atoms[i], b = scene.atoms[j], length = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
        const from = this.radius(a) * 0.75 / length, to = 1 - this.radius(b) * 0.75 / length, middle = (from + to) / 2;
        for (const [s, t, atom] of [[from, middle, a], [middle, to, b]]) {
          const p = seen(between(a, b, s)), q = seen(between(a, b, t)), z = (p[2] + q[2]) / 2;
          const hue = mix(rgb(scene.elements[atom[3]].colour), paper, fog(z) / FOG * 0.5), w = 2 * BOND * scale * p[3];
          things.push([z, () => {
            this.stroke(g, p, q, w, css(mix(hue, [10, 14, 20], 0.4)));
            this.stroke(g, p, q, w * 0.62, css(hue));
            this.stroke(g, p, q, w * 0.2, css(mix(hue, [255, 255, 255], 0.45)));
          }]);
        }
      }
      things.sort((a, b) => a[0] - b[0]);
      for (const [, paint] of things) paint();
      this.axes(g, width, height, ink);
      canvas.dataset.drawn = String(scene.atoms.length);
    }

    stroke(g, p, q, width, colour) {
      g.strokeStyle = colour;
      g.lineWidth = width;
      g.lineCap = "butt";
      g.beginPath();
      g.moveTo(p[0], p[1]);
      g.lineTo(q[0], q[1]);
      g.stroke();
    }

    axes(g, width, height, ink) {
      const length = 20, x = width / 2 - 34, y = height / 2 - 30;
      g.font = "600 11px sans-serif";
      g.textAlign = "center";
      g.textBaseline = "middle";
      this.scene.cell.forEach((v, i) => {
        const n = Math.hypot(...v), [dx, dy] = times(this.rotation, v.map((c) => c / n));
        g.strokeStyle = g.fillStyle = css(ink);
        g.lineWidth = 1.3;
        g.beginPath();
        g.moveTo(x, y);
        g.lineTo(x + dx * length, y + dy * length);
        g.stroke();
        if (Math.hypot(dx, dy) > 0.25) g.fillText("abc"[i], x + dx * (length + 8), y + dy * (length + 8));
      });
    }
  }
  return Viewer;
})();
