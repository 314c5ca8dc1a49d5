"use strict"; // the map itself; map_pointer.js, which follows in the same script, is what one does with it
const $ = id => document.getElementById(id);
const board = $("board"), dots = $("dots"), over = $("over"), card = $("card");
const dotsInk = dots.getContext("2d", { alpha: false }), overInk = over.getContext("2d");
const pictures = JSON.parse($("map-pictures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
// Okabe and Ito's colours, told apart by colour-blind eyes; with four shapes they are 28
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1c211d"];
const DARK = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#e8ebe7"];
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58",
  "#b5de2b", "#fde725"];
const HUES = LIGHT.length, GROUPS = 4 * HUES, OTHER = GROUPS, MISSING = GROUPS + 1, RAMP = GROUPS + 2, STEPS = 64;
const DIM = RAMP + STEPS, EDGE = 32, TILES = 120, WORDS_ON_MAP = 400;
const SHAPES = ["M7 2a5 5 0 1 0 0 10a5 5 0 1 0 0-10", "M2.6 2.6h8.8v8.8h-8.8z", "M7 1.2l6 10.6h-12z", "M7 .6l6.4 6.4l-6.4 6.4l-6.4-6.4z"];
const INSIDE = [(x, y) => x * x + y * y < 1, (x, y) => Math.max(Math.abs(x), Math.abs(y)) < .88,
  (x, y) => y < .8 && Math.abs(x) * 1.7 < y + 1.15, (x, y) => Math.abs(x) + Math.abs(y) < 1.2];

let data, n, X, Y, spanX, spanY, order, grid, column; // the photos; X and Y from 0, the longer span is 1
let group, level, matching = null, selected = null, off = new Set(), anchors = [], drawn = [], back = 0; // what is shown of them
let view = { x: 0, y: 0, unit: 1 }, width = 0, height = 0, ratio = 1, sharp = 1, image, pixels, stamps = {}, palette;
let tool = "move", path = null, byKeys = false, pinned = -1, current = -1, asked = false;

// ---- the photos

async function unpack() {
  const packed = Uint8Array.from(atob(JSON.parse($("map-data").textContent)), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}
function place() {
  n = data.ids.length;
  const top = data.y.reduce((a, b) => Math.max(a, b), 0);
  X = Float64Array.from(data.x, x => x / 65535);
  Y = Float64Array.from(data.y, y => (top - y) / 65535);
  spanX = X.reduce((a, b) => Math.max(a, b), 0); spanY = top / 65535;
  order = Uint32Array.from({ length: n }, (_, i) => i); // drawn in no order: no class lies above all others
  for (let i = n - 1, state = 1; i > 0; i--) {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    const j = state % (i + 1); [order[i], order[j]] = [order[j], order[i]];
  }
  const side = Math.max(1, Math.min(512, Math.round(Math.sqrt(n / 3)))), starts = new Uint32Array(side * side + 1);
  const cell = i => Math.min(side - 1, Math.floor(Y[i] * side)) * side + Math.min(side - 1, Math.floor(X[i] * side));
  for (let i = 0; i < n; i++) starts[cell(i) + 1]++;
  for (let c = 0; c < side * side; c++) starts[c + 1] += starts[c];
  const rows = new Uint32Array(n), next = starts.slice();
  for (let i = 0; i < n; i++) rows[next[cell(i)]++] = i;
  grid = { side, starts, rows };
  group = new Uint8Array(n); level = new Uint8Array(n);
}
const href = i => data.links ? data.links[i] : data.base + data.names[i].split("/").map(encodeURIComponent).join("/");
const value = (c, i) => c.numbers ? c.numbers[i] === null ? "" : String(c.numbers[i]) : c.words[c.codes[i]] ?? "";

// ---- the view

const toScreen = i => [(X[i] - view.x) * view.unit + width / 2, (Y[i] - view.y) * view.unit + height / 2];
const toMap = (x, y) => [(x - width / 2) / view.unit + view.x, (y - height / 2) / view.unit + view.y];
const fitting = (w, h) => .9 * Math.min(width / Math.max(w, 1e-5), height / Math.max(h, 1e-5));
function look(x, y, unit) {
  const least = .5 * fitting(spanX, spanY);
  view = { x: Math.max(0, Math.min(spanX, x)), y: Math.max(0, Math.min(spanY, y)),
    unit: Math.max(least, Math.min(2000 * least, unit)) };
  ask();
}
const whole = () => look(spanX / 2, spanY / 2, fitting(spanX, spanY));
function zoom(factor, x = width / 2, y = height / 2) { // what lies at (x, y) stays there
  const [a, b] = toMap(x, y), unit = view.unit;
  look(view.x, view.y, unit * factor);
  const f = unit / view.unit;
  look(a + (view.x - a) * f, b + (view.y - b) * f, view.unit);
}
function ask() { if (!asked) { asked = true; requestAnimationFrame(draw); } }
function resize() {
  const first = !width, box = board.getBoundingClientRect();
  width = board.clientWidth; height = board.clientHeight; sharp = Math.min(2, devicePixelRatio || 1);
  ratio = n > 50000 ? 1 : sharp; // finer dots would take four times as long
  if (!box.width) return;
  for (const [canvas, r] of [[dots, ratio], [over, sharp]]) { canvas.width = Math.round(width * r); canvas.height = Math.round(height * r); }
  image = dotsInk.createImageData(dots.width + 2 * EDGE, dots.height + 2 * EDGE);
  pixels = new Uint32Array(image.data.buffer); stamps = {};
  if (data) first ? whole() : ask();
}

// ---- dots: stamps of pixels blended into one picture, which is fast without a graphics card

const parts = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
const packed = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
function ramp(share) {
  const at = (dark.matches ? .15 + .85 * share : .92 * share) * (VIRIDIS.length - 1), low = Math.min(VIRIDIS.length - 2, Math.floor(at));
  const a = parts(VIRIDIS[low]), b = parts(VIRIDIS[low + 1]);
  return a.map((v, k) => Math.round(v + (b[k] - v) * (at - low)));
}
function recolour() {
  const hues = dark.matches ? DARK : LIGHT, soft = dark.matches ? "#7d867f" : "#9aa49c";
  palette = { ground: packed(parts(dark.matches ? "#1e221f" : "#ffffff")), hues, soft,
    ink: dark.matches ? "#e8ebe7" : "#1c211d", halo: dark.matches ? "#1e221fdd" : "#ffffffdd", accent: dark.matches ? "#6cc79d" : "#1f6f50" };
  const colours = new Uint32Array(DIM + 1);
  for (let g = 0; g < GROUPS; g++) colours[g] = packed(parts(hues[g % HUES]));
  colours[OTHER] = colours[MISSING] = packed(parts(soft));
  for (let s = 0; s < STEPS; s++) colours[RAMP + s] = packed(ramp(s / (STEPS - 1)));
  colours[DIM] = packed(parts(dark.matches ? "#4a514c" : "#c4cac5"));
  palette.colours = colours;
}
function stamp(shape, radius, strength) {
  const key = `${shape} ${radius} ${strength}`;
  if (stamps[key]) return stamps[key];
  const reach = Math.ceil(radius * 1.25), at = [], alpha = [];
  for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
    let inside = 0;
    for (let v = -1.5; v < 2; v++) for (let u = -1.5; u < 2; u++) inside += INSIDE[shape]((x + u / 4) / radius, (y + v / 4) / radius);
    if (inside) { at.push(y * image.width + x); alpha.push(Math.round(inside * 16 * strength)); }
  }
  return stamps[key] = { at: Int32Array.from(at), alpha: Uint16Array.from(alpha) };
}
function radius() {
  const start = Math.max(1.3, Math.min(4.2, .22 * Math.sqrt(width * height / n))), zoomed = view.unit / fitting(spanX, spanY);
  return Math.round(4 * ratio * Math.max(1, Math.min(9, start * Math.max(1, zoomed) ** .35))) / 4;
}
function paint() {
  const r = radius(), wide = image.width, left = width / 2 - view.x * view.unit, top = height / 2 - view.y * view.unit;
  const shapes = INSIDE.map((_, shape) => stamp(shape, r, .86)), faint = stamp(0, r * .85, .6);
  const unit = view.unit, right = image.width - EDGE / 4, bottom = image.height - EDGE / 4;
  pixels.fill(palette.ground);
  for (let k = 0; k < drawn.length; k++) {
    const i = drawn[k], g = k < back ? DIM : group[i];
    const x = Math.round((X[i] * unit + left) * ratio) + EDGE, y = Math.round((Y[i] * unit + top) * ratio) + EDGE;
    if (x < EDGE / 4 * 3 || y < EDGE / 4 * 3 || x >= right || y >= bottom) continue;
    const { at, alpha } = g === DIM ? faint : g < GROUPS ? shapes[Math.floor(g / HUES)] : shapes[0];
    const colour = palette.colours[g], rb = colour & 0xff00ff, green = colour & 0xff00, start = y * wide + x;
    for (let m = 0; m < at.length; m++) {
      const p = start + at[m], a = alpha[m], under = pixels[p];
      pixels[p] = 0xff000000 | ((Math.imul(rb, a) + Math.imul(under & 0xff00ff, 256 - a)) >>> 8 & 0xff00ff)
        | ((Math.imul(green, a) + Math.imul(under & 0xff00, 256 - a)) >>> 8 & 0xff00);
    }
  }
  dotsInk.putImageData(image, -EDGE, -EDGE);
}
function draw() {
  asked = false;
  if (!data || !width) return;
  paint();
  overInk.setTransform(sharp, 0, 0, sharp, 0, 0);
  overInk.clearRect(0, 0, width, height);
  words();
  const [x, y] = [width / 2, height / 2];
  if (byKeys) mark([[x - 9, y], [x + 9, y]], [[x, y - 9], [x, y + 9]]);
  if (current >= 0) {
    overInk.beginPath(); overInk.arc(...toScreen(current), radius() / ratio + 3, 0, 7); overInk.lineWidth = 2; overInk.strokeStyle = palette.ink; overInk.stroke();
  }
  if (path?.length) mark([...path, ...(byKeys ? [[view.x, view.y]] : []), path[0]].map(([a, b]) =>
    [(a - view.x) * view.unit + x, (b - view.y) * view.unit + y]));
}
function mark(...lines) {
  overInk.beginPath();
  for (const line of lines) line.forEach(([x, y], k) => k ? overInk.lineTo(x, y) : overInk.moveTo(x, y));
  overInk.lineWidth = 1.5; overInk.strokeStyle = palette.accent; overInk.stroke();
}
function words() { // names where their photos lie, the largest first, none above another
  overInk.font = "600 12px system-ui, sans-serif"; overInk.textAlign = "center"; overInk.textBaseline = "middle"; overInk.lineJoin = "round";
  const taken = [];
  for (const { name, i, g, half } of anchors) {
    if (off.has(g) || level[i] === 0) continue;
    const [x, y] = toScreen(i);
    if (x < half || y < 9 || x > width - half || y > height - 9) continue;
    if (taken.some(([u, v, w]) => Math.abs(u - x) < half + w && Math.abs(v - y) < 15)) continue;
    taken.push([x, y, half + 3]);
    overInk.lineWidth = 4; overInk.strokeStyle = palette.halo; overInk.strokeText(name, x, y);
    overInk.fillStyle = palette.ink; overInk.fillText(name, x, y);
    if (taken.length > 80) return;
  }
}

// ---- colours and legend

function colour() {
  off = new Set();
  anchors = [];
  if (column.numbers) {
    const known = column.numbers.filter(v => v !== null).sort((a, b) => a - b);
    const low = column.low = known[Math.floor(known.length * .01)], high = column.high = known[Math.ceil(known.length * .99) - 1];
    for (let i = 0; i < n; i++) {
      const v = column.numbers[i], share = (v - low) / (high - low || 1);
      group[i] = v === null ? MISSING : RAMP + Math.round(Math.max(0, Math.min(1, share)) * (STEPS - 1));
    }
  } else {
    for (let i = 0; i < n; i++) { const c = column.codes[i]; group[i] = c < 0 ? MISSING : Math.min(c, OTHER); }
    anchor();
  }
  legend(); show();
}
function anchor() {
  if (column.words.length > WORDS_ON_MAP) return;
  const members = column.words.map(() => []);
  column.codes.forEach((c, i) => { if (c >= 0) members[c].push(i); });
  overInk.font = "600 12px system-ui, sans-serif";
  anchors = members.map((own, c) => {
    const middle = V => Float64Array.from(own, i => V[i]).sort()[own.length >> 1], x = middle(X), y = middle(Y);
    const away = i => (X[i] - x) ** 2 + (Y[i] - y) ** 2, i = own.reduce((a, b) => away(b) < away(a) ? b : a);
    const full = column.words[c], name = full.length > 28 ? `${full.slice(0, 27)}…` : full;
    return { name, i, g: Math.min(c, OTHER), half: overInk.measureText(name).width / 2 + 3 };
  });
}
function tally() { const counts = new Uint32Array(DIM); for (let i = 0; i < n; i++) counts[group[i]]++; return counts; }
function made(tag, words, attributes = {}) {
  const element = document.createElement(tag);
  if (words !== undefined) element.textContent = words;
  for (const [key, v] of Object.entries(attributes)) element.setAttribute(key, v);
  return element;
}
function legend() {
  const box = $("legend"), counts = tally(), lines = [];
  if (column.numbers) {
    const bar = made("div", undefined, { class: "ramp" }), ends = made("div", undefined, { class: "ends" });
    const stops = [0, .25, .5, .75, 1].map(s => `rgb(${ramp(s)})`).join(", ");
    bar.style.background = `linear-gradient(90deg, ${stops})`;
    ends.append(made("span", `≤ ${column.low}`), made("span", `≥ ${column.high}`));
    box.replaceChildren(bar, ends);
  } else {
    box.replaceChildren();
    column.words.slice(0, GROUPS).forEach((name, g) => lines.push([g, name]));
    const rest = column.words.length - GROUPS;
    if (rest > 0) lines.push([OTHER, `other (${rest.toLocaleString("en")})`]);
  }
  if (counts[MISSING]) lines.push([MISSING, "no value"]);
  for (const [g, name] of lines) {
    const line = made("label"), tick = made("input", undefined, { type: "checkbox" });
    tick.checked = !off.has(g);
    tick.addEventListener("change", () => { tick.checked ? off.delete(g) : off.add(g); show(); });
    const sign = document.createElementNS("http://www.w3.org/2000/svg", "svg"), shape = document.createElementNS(sign.namespaceURI, "path");
    sign.setAttribute("viewBox", "0 0 14 14"); sign.setAttribute("aria-hidden", "true");
    shape.setAttribute("d", SHAPES[g < GROUPS ? Math.floor(g / HUES) : 0]);
    shape.setAttribute("fill", g < GROUPS ? palette.hues[g % HUES] : palette.soft);
    sign.append(shape); line.append(tick, sign, made("span", name), made("span", counts[g].toLocaleString("en")));
    box.append(line);
  }
  $("toggles").hidden = lines.length < 2;
}
function show() { // 0 hidden, 1 in the background, 2 shown
  for (let i = 0; i < n; i++)
    level[i] = off.has(group[i]) ? 0 : (!matching || matching[i]) && (!selected || selected[i]) ? 2 : 1;
  const grey = i => group[i] === OTHER || group[i] === MISSING, behind = order.filter(i => level[i] === 1);
  back = behind.length; // drawn first, then what has no colour of its own
  const front = order.filter(i => level[i] === 2);
  drawn = new Uint32Array(back + front.length);
  drawn.set(behind); drawn.set(front.filter(grey), back);
  const coloured = front.filter(i => !grey(i));
  drawn.set(coloured, drawn.length - coloured.length);
  ask();
}
function find() {
  const wanted = $("find").value.trim().toLowerCase();
  let count = 0;
  matching = null;
  if (wanted) {
    const has = word => String(word).toLowerCase().includes(wanted);
    const among = data.columns.filter(c => c.words).map(c => [c.codes, c.words.map(has)]);
    matching = Uint8Array.from({ length: n }, (_, i) => has(data.names[i]) || has(data.ids[i]) || among.some(([codes, yes]) => yes[codes[i]]));
    count = matching.reduce((a, b) => a + b, 0);
  }
  $("found").textContent = wanted ? `${count.toLocaleString("en")} found` : "";
  $("take").disabled = !count;
  show();
}
