// ---- one photo

function nearest(x, y, reach) { // the shown photo nearest to a place of the board, within `reach` pixels
  const [a, b] = toMap(x, y), { side, starts, rows } = grid, far = reach / view.unit;
  const from = v => Math.max(0, Math.min(side - 1, Math.floor((v - far) * side))), to = v => Math.max(0, Math.min(side - 1, Math.floor((v + far) * side)));
  let best = -1, least = far * far;
  for (let r = from(b); r <= to(b); r++) for (let k = starts[r * side + from(a)]; k < starts[r * side + to(a) + 1]; k++) {
    const i = rows[k], away = (X[i] - a) ** 2 + (Y[i] - b) ** 2;
    if (level[i] && (away < least || away === least && best < 0)) { best = i; least = away; }
  }
  return best;
}
function picture(i) {
  if (!pictures[i]) return made("span", "no picture of this one in the page", { class: "missing" });
  return made("img", undefined, { src: `data:image/webp;base64,${pictures[i]}`, alt: `Photo ${data.names[i]}` });
}
function tell(i, keep = false) {
  current = i; pinned = keep ? i : -1;
  card.hidden = i < 0; card.className = keep ? "kept" : "";
  ask();
  if (i < 0) return;
  const list = made("dl");
  for (const c of data.columns.slice(0, 10)) if (c !== column && value(c, i)) list.append(made("dt", c.name), made("dd", value(c, i)));
  card.replaceChildren(picture(i), made("b", value(column, i)), made("span", data.names[i]), list);
  if (keep) card.append(made("a", "Open the photo", { href: href(i), target: "_blank", rel: "noopener" }));
  const [x, y] = toScreen(i), box = card.getBoundingClientRect();
  card.style.left = `${Math.max(4, x + 14 + box.width < width ? x + 14 : x - 14 - box.width)}px`;
  card.style.top = `${Math.max(4, Math.min(height - box.height - 4, y - box.height / 2))}px`;
}
function say() { // to those who walk by keys
  const i = nearest(width / 2, height / 2, 60);
  tell(i);
  const facts = i < 0 ? "no photo near the cross" : [data.names[i], ...data.columns.slice(0, 4).map(c => value(c, i) && `${c.name} ${value(c, i)}`)].filter(Boolean).join(", ");
  $("says").textContent = (path ? `Lasso with ${path.length} corners. ` : "") + facts;
}

// ---- the lasso

function inside(polygon, x, y) { // even-odd rule
  let yes = false;
  for (let k = 0, last = polygon.length - 1; k < polygon.length; last = k++) {
    const [a, b] = polygon[k], [c, d] = polygon[last];
    if (b > y !== d > y && x < (c - a) * (y - b) / (d - b) + a) yes = !yes;
  }
  return yes;
}
function enclose(polygon, add) {
  const [xs, ys] = [0, 1].map(k => polygon.map(p => p[k]));
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)], [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  choose(i => add && selected?.[i] || level[i] && X[i] >= x0 && X[i] <= x1 && Y[i] >= y0 && Y[i] <= y1 && inside(polygon, X[i], Y[i]));
}
function choose(wanted) {
  const taken = Uint8Array.from({ length: n }, (_, i) => wanted(i) ? 1 : 0);
  selected = taken.includes(1) ? taken : null;
  listed(); show();
}
const chosen = () => selected ? [...selected.keys()].filter(i => selected[i]) : [];
function listed() {
  const rows = chosen(), counts = new Map();
  $("count").textContent = rows.length ? `${rows.length.toLocaleString("en")} of ${n.toLocaleString("en")} photos` : "Nothing: no photo lies in there.";
  for (const id of ["csv", "near", "clear"]) $(id).disabled = !rows.length;
  $("tiles").replaceChildren(...rows.slice(0, TILES).map(i => {
    const item = made("li"), to = made("a", undefined, { href: href(i), target: "_blank", rel: "noopener" });
    to.append(picture(i), made("b", value(column, i)), made("span", data.names[i].split("/").pop()));
    item.append(to); return item;
  }));
  if (rows.length > TILES) $("tiles").append(made("li", `and ${(rows.length - TILES).toLocaleString("en")} more: they are all in the CSV`));
  $("classes").replaceChildren();
  if (!rows.length || column.numbers) return;
  for (const i of rows) counts.set(value(column, i), (counts.get(value(column, i)) ?? 0) + 1);
  const table = made("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  head.append(made("th", column.name, { scope: "col" }), made("th", "photos", { scope: "col" }));
  for (const [name, count] of [...counts].sort((a, b) => b[1] - a[1]).slice(0, 100)) {
    const line = body.insertRow();
    line.append(made("th", name || "no value", { scope: "row" }), made("td", count.toLocaleString("en")));
  }
  $("classes").append(table);
}
function csv() {
  const cell = word => /[",\r\n]/.test(word) ? `"${word.replaceAll('"', '""')}"` : word;
  const lines = [["id", "file_path", column.name], ...chosen().map(i => [data.ids[i], data.names[i], value(column, i)])];
  return lines.map(line => `${line.map(cell).join(",")}\n`).join("");
}
function download() {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  made("a", undefined, { href: url, download: "selected.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
function zoomTo() {
  const rows = chosen(), [x0, x1, y0, y1] = [[X, Math.min], [X, Math.max], [Y, Math.min], [Y, Math.max]]
    .map(([V, best]) => rows.reduce((a, i) => best(a, V[i]), V[rows[0]]));
  look((x0 + x1) / 2, (y0 + y1) / 2, fitting(x1 - x0, y1 - y0));
}

// ---- pointer and keys

const fingers = new Map();
let dragged = false;
const at = event => { const box = board.getBoundingClientRect(); return [event.clientX - box.left - board.clientLeft, event.clientY - box.top - board.clientTop]; };
function use(name) {
  tool = name; path = null; byKeys = false;
  for (const id of ["move", "lasso"]) $(id).ariaPressed = String(id === name);
  board.classList.toggle("lasso", name === "lasso");
  ask();
}
function press(event) {
  if (event.button) return;
  board.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, at(event));
  dragged = false; byKeys = false;
  path = fingers.size === 1 && (tool === "lasso" || event.shiftKey) ? [toMap(...at(event))] : null;
}
function hover(event) {
  const now = at(event), before = fingers.get(event.pointerId);
  if (!before) { if (pinned < 0) { const i = nearest(...now, 14); if (i !== current) tell(i); } return; }
  if (Math.hypot(now[0] - before[0], now[1] - before[1]) < (dragged ? .01 : 3)) return;
  if (!dragged) tell(-1);
  dragged = true;
  const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
  fingers.set(event.pointerId, now);
  if (path) { path.push(toMap(...now)); ask(); return; }
  board.classList.add("dragged");
  if (other) {
    const gap = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
    zoom(gap(now) / Math.max(1, gap(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else look(view.x - (now[0] - before[0]) / view.unit, view.y - (now[1] - before[1]) / view.unit, view.unit);
}
function release(event) {
  if (!fingers.delete(event.pointerId)) return;
  board.classList.remove("dragged");
  const polygon = path; path = null;
  if (polygon && dragged) enclose(polygon, event.ctrlKey || event.metaKey);
  else if (!dragged && event.type === "pointerup") { const i = nearest(...at(event), 14); tell(i, i >= 0); }
  ask();
}
function key(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const step = 40 / view.unit, walk = (dx, dy) => look(view.x + dx * step, view.y + dy * step, view.unit);
  const act = {
    ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0), ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1),
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: whole,
    o: () => current >= 0 && open(href(current), "_blank", "noopener"),
    l: () => { if (!path) path = []; else { if (path.length > 2) enclose(path, event.shiftKey); path = null; } },
    Enter: () => path ? path.push([view.x, view.y]) : tell(current, current >= 0),
    Backspace: () => path?.pop(), Escape: () => { path = null; },
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  byKeys = event.key !== "Escape";
  act();
  if (event.key === "Escape") tell(-1); else if (event.key !== "Enter" || path) say();
}

async function start() {
  data = await unpack(); place(); recolour(); resize();
  data.columns.forEach((c, k) => $("colour").append(made("option", c.name, { value: k })));
  if (!data.columns.length) data.columns.push({ name: "photo", words: ["photo"], codes: data.ids.map(() => 0) });
  column = data.columns[0];
  const on = (id, type, act) => $(id).addEventListener(type, act);
  on("colour", "change", event => { column = data.columns[event.target.value]; colour(); if (selected) listed(); });
  on("find", "input", find);
  on("take", "click", () => choose(i => matching?.[i] && level[i]));
  on("move", "click", () => use("move")); on("lasso", "click", () => use("lasso"));
  on("in", "click", () => zoom(1.5)); on("out", "click", () => zoom(1 / 1.5)); on("whole", "click", whole);
  on("all", "click", () => { off.clear(); legend(); show(); });
  on("none", "click", () => { off = new Set([...Array(RAMP).keys()]); legend(); show(); });
  on("csv", "click", download); on("near", "click", zoomTo);
  on("clear", "click", () => { choose(() => false); $("count").textContent = "Nothing yet: draw a lasso around photos."; });
  board.addEventListener("pointerdown", press); board.addEventListener("pointermove", hover);
  for (const type of ["pointerup", "pointercancel"]) board.addEventListener(type, release);
  board.addEventListener("pointerleave", () => { if (!fingers.size && pinned < 0 && !byKeys) tell(-1); });
  board.addEventListener("wheel", event => { event.preventDefault(); if (pinned < 0) tell(-1); zoom(1.0016 ** -event.deltaY, ...at(event)); }, { passive: false });
  board.addEventListener("keydown", key);
  dark.addEventListener("change", () => { recolour(); legend(); ask(); });
  new ResizeObserver(resize).observe(board);
  colour();
  board.dataset.ready = "yes";
}
start();
