"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const SVG = "http://www.w3.org/2000/svg"; // a name, not an address: nothing is loaded

// Tables: sort by a click on a column's name, filter by words and by one choice.
function sort(header) {
  const table = header.closest("table"), body = table.tBodies[0], place = header.cellIndex;
  const numbers = header.classList.contains("n");
  const down = header.ariaSort === "none" ? numbers : header.ariaSort === "ascending";
  const key = row => {
    const cell = row.cells[place];
    return numbers ? parseFloat(cell.dataset.v ?? "NaN") : cell.textContent;
  };
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (numbers && (isNaN(a) || isNaN(b))) return isNaN(a) - isNaN(b); // unknown: last
    const order = numbers ? a - b : a.localeCompare(b);
    return down ? -order : order;
  });
  all("th[aria-sort]", table).forEach(other => { other.ariaSort = "none"; });
  header.ariaSort = down ? "descending" : "ascending";
  body.append(...rows.map(([, row]) => row));
}
function filter(table) {
  const tools = all(`[data-for="${CSS.escape(table.id)}"]`);
  let count = 0;
  for (const row of table.tBodies[0].rows) {
    row.hidden = !tools.every(tool => {
      if (tool.dataset.column) return !tool.value || row.cells[tool.dataset.column].textContent === tool.value;
      return row.textContent.toLowerCase().includes(tool.value.trim().toLowerCase());
    });
    count += !row.hidden;
  }
  const total = table.tBodies[0].rows.length, out = document.querySelector(`[data-count="${CSS.escape(table.id)}"]`);
  out.textContent = count === total ? `${total} rows` : `${count} of ${total} rows`;
  table.dispatchEvent(new Event("filter"));
}
for (const table of all("table.sortable")) {
  all("th[aria-sort] button", table).forEach(button =>
    button.addEventListener("click", () => sort(button.parentElement)));
  all(`[data-for="${CSS.escape(table.id)}"]`).forEach(tool =>
    tool.addEventListener("input", () => filter(table)));
}

// The confusion matrix: hover, zoom, walk.
function matrix(box) {
  const data = JSON.parse(document.getElementById(`${box.dataset.matrix}-data`).textContent);
  const C = data.classes.length, SIZE = +box.dataset.size, M = +box.dataset.margin, PLOT = SIZE - M;
  const board = box.querySelector(".board"), cells = box.querySelector(".cells");
  const cross = box.querySelector(".cross"), labels = box.querySelector(".labels");
  const says = box.querySelector(".readout");
  const known = new Map(data.n.map((n, k) => [data.truth[k] * C + data.predicted[k], n]));
  const wrong = data.n.map((n, k) => [n, data.truth[k], data.predicted[k]])
    .filter(([, i, j]) => i !== j).sort((a, b) => b[0] - a[0] || a[1] - b[1] || a[2] - b[2]);
  const least = Math.min(6, C);
  let x0 = 0, y0 = 0, side = C, row = 0, column = 0, nth = -1;
  const within = (value, low, high) => Math.max(low, Math.min(high, value));
  const element = (name, attributes, words) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (words !== undefined) made.textContent = words;
    return made;
  };
  const short = (name, most) => name.length <= most ? name : `${name.slice(0, most - 1)}…`;

  function draw() {
    cells.setAttribute("viewBox", `${x0} ${y0} ${side} ${side}`);
    labels.replaceChildren();
    const unit = PLOT / side, font = Math.min(12, unit * .9);
    if (font < 6) return; // too small to read: the line above the matrix says the names
    const letters = Math.floor((M - 10) / (font * .52));
    const at = k => M + (k + .5) * unit;
    const style = `font-size:${font.toFixed(1)}px`;
    for (let i = Math.ceil(y0 - .4); i < Math.min(C, y0 + side - .6); i++) {
      labels.append(element("text", { x: M - 6, y: at(i - y0) + font * .35, "text-anchor": "end", style },
        short(data.classes[i], letters)));
    }
    for (let j = Math.ceil(x0 - .4); j < Math.min(C, x0 + side - .6); j++) {
      labels.append(element("text", { transform: `translate(${at(j - x0) + font * .35} ${M - 6}) rotate(-90)`, style },
        short(data.classes[j], letters)));
    }
    if (unit < 14) return;
    for (const [place, n] of known) {
      const i = Math.floor(place / C), j = place % C, x = at(j - x0), y = at(i - y0);
      if (n && x > M && x < SIZE && y > M && y < SIZE)
        labels.append(element("text", { x, y: y + font * .35, class: "count", style }, n));
    }
  }
  function caption() { box.querySelectorAll("svg > text").forEach(t => { t.style.display = PLOT / side * .9 >= 6 ? "none" : ""; }); }
  function say() {
    cross.replaceChildren(
      element("rect", { x: 0, y: row, width: C, height: 1 }),
      element("rect", { x: column, y: 0, width: 1, height: C }),
      element("rect", { x: column, y: row, width: 1, height: 1, class: "at" }));
    const n = known.get(row * C + column) ?? 0, photos = data.photos[row];
    const share = photos ? ` (${Math.round(100 * n / photos)}%)` : "";
    says.textContent = row === column
      ? `${data.classes[row]} named right: ${n} of ${photos} photos${share}`
      : `${data.classes[row]} taken for ${data.classes[column]}: ${n} of ${photos} photos${share}`;
  }
  function show(x, y, size) {
    side = within(size, least, C);
    x0 = within(x, 0, C - side); y0 = within(y, 0, C - side);
    draw(); caption();
  }
  function zoom(factor, x = column + .5, y = row + .5) {
    const size = within(side * factor, least, C), ratio = size / side;
    show(x - (x - x0) * ratio, y - (y - y0) * ratio, size);
  }
  function walk(i, j) {
    row = within(i, 0, C - 1); column = within(j, 0, C - 1);
    show(Math.min(column, Math.max(x0, column + 1 - side)), Math.min(row, Math.max(y0, row + 1 - side)), side);
    say();
  }
  function go(i, j, most) { // there, with what is around it
    const size = Math.min(side, most);
    show(j + .5 - size / 2, i + .5 - size / 2, size);
    walk(i, j);
  }
  function next(step) {
    if (!wrong.length) return;
    nth = (nth + step + wrong.length) % wrong.length;
    go(wrong[nth][1], wrong[nth][2], C);
  }
  const point = event => {
    const area = board.firstElementChild.getBoundingClientRect(), unit = SIZE / area.width;
    return [x0 + ((event.clientX - area.left) * unit - M) / PLOT * side,
      y0 + ((event.clientY - area.top) * unit - M) / PLOT * side];
  };
  const inside = (x, y) => x >= x0 && y >= y0 && x < x0 + side && y < y0 + side;

  let held = null;
  board.addEventListener("pointermove", event => {
    const [x, y] = point(event);
    if (held && event.buttons) { show(x0 + held[0] - x, y0 + held[1] - y, side); return; }
    held = null;
    if (!inside(x, y)) return;
    row = Math.floor(y); column = Math.floor(x); say();
  });
  board.addEventListener("pointerdown", event => {
    const [x, y] = point(event);
    if (!inside(x, y)) return;
    row = Math.floor(y); column = Math.floor(x); say();
    held = event.pointerType === "mouse" ? [x, y] : null;
  });
  addEventListener("pointerup", () => { held = null; });
  board.addEventListener("dblclick", event => zoom(.5, ...point(event)));
  board.addEventListener("wheel", event => { // without focus the page scrolls as ever
    if (!event.ctrlKey && document.activeElement !== board) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? .8 : 1.25, ...point(event));
  }, { passive: false });
  board.addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const far = event.shiftKey ? 10 : 1;
    const act = { ArrowUp: () => walk(row - far, column), ArrowDown: () => walk(row + far, column),
      ArrowLeft: () => walk(row, column - far), ArrowRight: () => walk(row, column + far),
      Home: () => walk(row, row), "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1 / .6),
      0: () => show(0, 0, C), Escape: () => show(0, 0, C),
      n: () => next(1), N: () => next(-1), p: () => next(-1) }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  const acts = { in: () => zoom(.6), out: () => zoom(1 / .6), all: () => show(0, 0, C), next: () => next(1) };
  all("button[data-do]", box).forEach(button =>
    button.addEventListener("click", acts[button.dataset.do]));
  box.querySelector("input[data-do]").addEventListener("change", event => {
    const i = data.classes.indexOf(event.target.value);
    if (i >= 0) go(i, i, 24);
  });
  draw(); caption();
}
all("[data-matrix]").forEach(matrix);

// Chapters: the one being read is marked.
const links = new Map(all("nav a").map(link => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    links.forEach(link => link.removeAttribute("aria-current"));
    links.get(entry.target.id)?.setAttribute("aria-current", "location");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
all("main > section").forEach(section => seen.observe(section));
