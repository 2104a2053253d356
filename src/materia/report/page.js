"use strict";
(() => {
  const { scenes, details } = JSON.parse(document.getElementById("page-data").textContent);
  const byId = new Map(details.map((d) => [d.id, d]));
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes)) k === "style" ? node.style.cssText = v : node.setAttribute(k, v);
    node.append(...children);
    return node;
  };
  const formula = (text) => text.split(/(\d+)/).map((part) => /^\d+$/.test(part) ? make("sub", {}, part) : part);
  const elements = (scene) => make("div", { class: "elements" }, ...scene.elements.map((e) => make("span", {}, make("i", { style: `--c:${e.colour}` }), e.s)));

  const viewers = [];
  document.querySelectorAll("canvas.viewer").forEach((canvas) => {
    const scene = scenes[Number(canvas.dataset.scene)];
    viewers.push(new CrystalViewer(canvas, scene));
    canvas.parentElement.append(elements(scene));
  });

  const dark = () => document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = document.getElementById("theme");
  theme.hidden = false;
  const repaint = () => viewers.forEach((v) => v.draw());
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; repaint(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

  const table = document.getElementById("ranking");
  if (table) {
    const rows = [...table.tBodies[0].rows], buttons = [...document.querySelectorAll("[data-filter]")];
    const search = document.getElementById("search"), shown = document.getElementById("shown");
    const belongs = {
      all: () => true, hit: (row) => row.dataset.hit === "1", picked: (row) => row.dataset.status !== "labelled",
      computed: (row) => row.dataset.status === "computed", labelled: (row) => row.dataset.status === "labelled", failed: (row) => row.dataset.status === "failed",
    };
    const size = (kind) => rows.filter(belongs[kind]).length;
    let wanted = size("picked") > 0 && size("labelled") > 10 ? "picked" : "all";
    const refresh = () => {
      const words = search.value.trim().toLowerCase();
      let n = 0;
      for (const row of rows) {
        row.hidden = !(belongs[wanted](row) && row.querySelector("th").textContent.toLowerCase().includes(words));
        n += row.hidden ? 0 : 1;
      }
      shown.textContent = `${n} of ${rows.length}`;
      buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.filter === wanted)));
    };
    for (const button of buttons) {
      const kind = button.dataset.filter, n = size(kind);
      button.hidden = n === 0;
      button.append(make("span", { class: "muted" }, ` ${n}`));
      button.addEventListener("click", () => { wanted = kind; refresh(); });
    }
    search.addEventListener("input", refresh);
    refresh();

    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.dataset.sort) return;
      head.tabIndex = 0;
      const sort = () => {
        const up = head.getAttribute("aria-sort") !== "ascending", sign = up ? 1 : -1;
        [...table.tHead.rows[0].cells].forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => { const cell = row.cells[column]; return cell.dataset.value ?? cell.textContent.trim(); };
        rows.sort((a, b) => {
          const [p, q] = [key(a), key(b)];
          if (p === "" || q === "") return (p === "") - (q === "");
          return sign * (head.dataset.sort === "number" ? Number(p) - Number(q) : p.localeCompare(q));
        });
        table.tBodies[0].append(...rows);
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sort(); } });
    });
  }

  /* POSCAR of the structure as computed, for taking it elsewhere. */
  const poscar = ({ id, structure }) => {
    const kinds = [...new Set(structure.species)];
    const order = kinds.flatMap((k) => structure.species.map((s, i) => [s, i]).filter(([s]) => s === k).map(([, i]) => i));
    const row = (v) => v.map((x) => x.toFixed(8).padStart(13)).join(" ");
    return [id.replace(/[^\x20-\x7e]/g, "?"), "1.0", ...structure.lattice.map(row), kinds.join(" "),
      kinds.map((k) => structure.species.filter((s) => s === k).length).join(" "), "Direct", ...order.map((i) => row(structure.frac_coords[i])), ""].join("\n");
  };

  const dialog = document.getElementById("dossier"), body = document.getElementById("dossier-body");
  const open = (id) => {
    const d = byId.get(id), scene = scenes.find((s) => s.id === id);
    const text = make("div", { class: "text" }), side = make("div", { class: "side" });
    text.append(make("h2", { id: "dossier-title" }, ...formula(d.formula)), make("p", { class: "muted" }, `${d.prototype} · ${d.id}`));
    const pills = make("p");
    if (d.hit) pills.append(make("span", { class: "pill hit" }, "hit"));
    pills.append(make("span", { class: `pill ${d.standing}` }, d.status === "labelled" ? "already labelled" : d.standing));
    text.append(pills);
    if (d.changed) pills.append(make("span", { class: "pill" }, "structure type changed on relaxation"));
    if (d.fell) pills.append(make("span", { class: "pill" }, "distorted, by an interatomic potential"));
    else if (d.distorts) pills.append(make("span", { class: "pill" }, "distorts, by an interatomic potential"));
    if (d.fell) text.append(make("p", {}, `Structure and values are those of what it fell into: ${d.fell}`));
    if (d.reason) text.append(make("p", { class: "why" }, d.reason));
    const lines = (head, data) => make("table", { class: "facts" }, make("thead", {}, make("tr", {}, ...head.map((h) => make("th", { scope: "col" }, h)))),
      make("tbody", {}, ...data.map(([first, ...rest]) => make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((v) => make("td", {}, String(v)))))));
    text.append(lines(["Quantity", "DFT", "Predicted when picked"], d.facts));
    if (d.score.length) text.append(make("h3", {}, `Why it was picked in round ${d.round}`), lines(["Part of the score", ""], d.score));
    if (d.sources.length) text.append(make("h3", {}, "Labels"), ...d.sources.map((s) => make("p", { class: "small muted" }, s)));
    if (scene) {
      const [a, b, c] = scene.lengths, [al, be, ga] = scene.angles;
      text.append(make("h3", {}, d.status === "failed" ? "Structure when it failed" : "Structure"), lines(["Cell as shown", ""], [["space group", scene.spacegroup || "not found"],
        ["a, b, c (Å)", `${a}, ${b}, ${c}`], ["α, β, γ (°)", `${al}, ${be}, ${ga}`], ["volume (Å³)", scene.volume], ["atoms", scene.n_atoms]]));
      const canvas = make("canvas", { class: "viewer", tabindex: "0" });
      const tools = make("div", { class: "tools" });
      side.append(make("div", { class: "sticky" }, make("div", { class: "stage" }, canvas), elements(scene), tools));
      body.replaceChildren(make("div", { class: "dossier" }, side, text));
      dialog.showModal();
      const viewer = new CrystalViewer(canvas, scene, { wheel: true });
      viewers.push(viewer);
      const tool = (name, act) => { const t = make("button", { type: "button" }, name); t.addEventListener("click", act); tools.append(t); };
      ["a", "b", "c"].forEach((name, i) => tool(`along ${name}`, () => viewer.along(i)));
      tool("reset", () => viewer.reset());
      tool("−", () => viewer.scale(1 / 1.25));
      tool("+", () => viewer.scale(1.25));
      tool("POSCAR", () => {
        const link = make("a", { href: URL.createObjectURL(new Blob([poscar(d)], { type: "text/plain" })), download: `${d.id.replace(/[^A-Za-z0-9._-]/g, "_")}.vasp` });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      });
    } else {
      body.replaceChildren(make("div", { class: "dossier" }, text));
      dialog.showModal();
    }
  };
  document.querySelectorAll("button.open").forEach((b) => b.addEventListener("click", () => open(b.dataset.id)));
  dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { body.replaceChildren(); });
  const asked = new URLSearchParams(location.hash.slice(1)).get("candidate");
  if (asked && byId.has(asked)) open(asked);
})();
