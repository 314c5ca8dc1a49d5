
// Slices: a table of configurations, drawn as one chooses. The table is the data.
function slice(box) {
  const table = document.getElementById(box.dataset.slice), heads = [...table.tHead.rows[0].cells];
  const part = name => box.querySelector(`[data-part="${name}"]`);
  const chosen = Object.fromEntries(["y", "x", "colour", "line"].map(name => [name, part(name)]));
  const only = all("select[data-column]", box), plot = box.querySelector(".plot");
  const caption = box.querySelector("figcaption"), legend = box.querySelector(".legend"), says = box.querySelector(".says");
  const title = i => heads[i].dataset.name ?? heads[i].textContent;
  const axes = only.map(select => +select.dataset.column);
  const order = new Map(only.map(select => // of the words of an axis
    [+select.dataset.column, new Map([...select.options].slice(1).map((option, k) => [option.value, k]))]));
  const number = word => word === undefined ? NaN : parseFloat(word);
  const every = [...table.tBodies[0].rows].map(row => ({
    row, words: [...row.cells].map(cell => cell.textContent),
    values: [...row.cells].map(cell => number(cell.dataset.v)),
    ends: [...row.cells].map(cell => [number(cell.dataset.low), number(cell.dataset.high)]) }));
  let dots = [], at = -1;

  const made = (name, attributes, words) => {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (words !== undefined) one.textContent = words;
    return one;
  };
  const shape = (s, x, y, more = {}) => made("path", { class: "dot", ...more, d: [
    `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z`, `M${x - 3.5} ${y - 3.5}h7v7h-7z`,
    `M${x} ${y - 4.8}l4.6 8h-9.2z`, `M${x} ${y - 5}l5 5l-5 5l-5 -5z`][s % 4] });
  const say = (value, i) => {
    if (heads[i].dataset.kind === "share") return `${(100 * value).toFixed(1)}%`;
    if (heads[i].dataset.kind === "exact") return String(value);
    return heads[i].dataset.kind === "count" ? Math.round(value).toLocaleString("en") : value.toFixed(3);
  };

  function ticks(low, high, most) { // round numbers between the ends
    const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find(k => k * power >= rough * (1 - 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(+(k * step).toPrecision(12));
    return found;
  }
  function powers(low, high) {
    const found = [];
    for (let p = Math.floor(Math.log10(low)); 10 ** p <= high; p++)
      for (const k of [1, 2, 5]) found.push(+(k * 10 ** p).toPrecision(2));
    const inside = found.filter(value => value >= low && value <= high);
    return inside.length > 6 ? inside.filter(value => /^[0.]*1[0.]*$|e/.test(String(value))) : inside;
  }
  function scale(values, start, end, wide, most) { // from amounts to places, with its ticks
    let low = Math.min(...values), high = Math.max(...values);
    const log = wide && low > 0 && high / low >= 20;
    const turn = log ? Math.log : value => value;
    const inside = low >= 0 && high <= 1, air = log ? 0 : .05 * (high - low) || .05 * Math.abs(high) || .05;
    const marks = log ? powers(low, high) : null;
    low -= air; high += air;
    if (inside) { low = Math.max(0, low); high = Math.min(1, high); }
    const width = turn(high) - turn(low) || 1;
    const place = value => start + (turn(value) - turn(low)) / width * (end - start);
    return { place, ticks: marks?.length ? marks : ticks(low, high, most) };
  }
  const plain = marks => { // all with as many decimals as the one that needs most
    const decimals = Math.max(...marks.map(t => (String(+t.toPrecision(6)).split(".")[1] ?? "").length));
    return marks.map(t => t.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
  };

  function draw() {
    const y = +chosen.y.value, x = +chosen.x.value, c = chosen.colour.value === "" ? -1 : +chosen.colour.value;
    const less = "less" in heads[y].dataset, line = chosen.line.value, named = order.has(x);
    const shown = every.filter(one => !one.row.hidden && !isNaN(one.values[y]) && (named || !isNaN(one.values[x])));
    if (at >= 0) dots[at]?.one.row.classList.remove("at");
    dots = []; at = -1;
    plot.replaceChildren(); legend.replaceChildren();
    says.textContent = "";
    const through = line && named ? `, lines: the ${line}` : "";
    caption.textContent = `${title(y)} by ${title(x)}${c < 0 ? "" : `, colours: ${title(c)}`}` +
      `${through}. ${shown.length} of ${every.length} configurations.`;
    if (!shown.length) { says.textContent = "No configuration is like this: choose any again."; return; }

    const words = [...new Set(shown.map(one => c < 0 ? "" : one.words[c]))];
    if (c >= 0) words.sort((a, b) => order.get(c).get(a) - order.get(c).get(b));
    const series = word => c < 0 ? 0 : order.get(c).get(word);
    const columns = [...new Set(shown.map(one => one.words[x]))];
    if (named) columns.sort((a, b) => order.get(x).get(a) - order.get(x).get(b));
    const banded = named && shown.some(one => isNaN(one.values[x]));
    const bars = shown.length <= 60;

    // The frame: as wide as there is room, so that letters keep their size.
    const width = Math.max(280, Math.min(960, Math.round(plot.clientWidth) || 640)), LEFT = 58, RIGHT = width - 12;
    const longest = Math.max(...columns.map(word => Math.min(word.length, 26)));
    const steep = banded && longest * 6.6 > (RIGHT - LEFT) / columns.length;
    const bottom = 300, deep = steep ? 14 + longest * 4.4 : 18, height = bottom + deep + 24;
    const tops = shown.flatMap(one => [one.values[y], ...(bars ? one.ends[y] : [])]).filter(value => !isNaN(value));
    const up = scale(tops, bottom - 6, 12, "wide" in heads[y].dataset, 6);
    const along = banded ? null
      : scale(shown.map(one => one.values[x]), LEFT + 14, RIGHT - 14, named || "wide" in heads[x].dataset, width < 500 ? 4 : 7);
    const band = (RIGHT - LEFT) / columns.length, aside = Math.min(9, band * .7 / words.length);
    const column = new Map(columns.map((word, k) => [word, LEFT + (k + .5) * band]));
    const across = one => (banded ? column.get(one.words[x]) : along.place(one.values[x])) +
      (banded ? (words.indexOf(c < 0 ? "" : one.words[c]) - (words.length - 1) / 2) * aside : 0);
    const svg = made("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    plain(up.ticks).forEach((word, k) => {
      const place = up.place(up.ticks[k]);
      svg.append(made("path", { class: "grid", d: `M${LEFT} ${place}H${RIGHT}` }),
        made("text", { class: "soft", "text-anchor": "end", x: LEFT - 6, y: place + 4 }, word));
    });
    if (banded) {
      const skip = Math.ceil(columns.length * (steep ? 14 : 0) / (RIGHT - LEFT)) || 1;
      columns.forEach((word, k) => {
        if (k % skip) return;
        const place = column.get(word), cut = word.length > 26 ? `${word.slice(0, 25)}…` : word;
        svg.append(made("text", { class: "soft", ...(steep
          ? { "text-anchor": "end", transform: `translate(${place + 4} ${bottom + 13}) rotate(-40)` }
          : { "text-anchor": "middle", x: place, y: bottom + 16 }) }, cut));
      });
    } else plain(along.ticks).forEach((word, k) => {
      const place = along.place(along.ticks[k]);
      svg.append(made("path", { class: "grid", d: `M${place} 8V${bottom}` }),
        made("text", { class: "soft", "text-anchor": "middle", x: place, y: bottom + 16 }, word));
    });
    svg.append(made("path", { class: "axis", d: `M${LEFT} ${bottom}H${RIGHT}` }),
      made("text", { class: "soft", "text-anchor": "end", x: RIGHT, y: height - 6 }, title(x)),
      made("text", { class: "soft", "text-anchor": "middle", transform: `translate(12 ${bottom / 2}) rotate(-90)` }, title(y)));

    for (const word of words) {
      const s = series(word), mine = shown.filter(one => c < 0 || one.words[c] === word);
      const group = made("g", { class: `s${s % 6}` });
      const points = new Map();
      for (const one of mine) {
        const key = one.words[x];
        points.set(key, [...(points.get(key) ?? []), one]);
      }
      if (line && named && points.size > 1) {
        const path = columns.filter(key => points.has(key)).map(key => {
          const values = points.get(key).map(one => one.values[y]);
          const value = line === "mean" ? values.reduce((a, b) => a + b) / values.length
            : less ? Math.min(...values) : Math.max(...values);
          return `${across(points.get(key)[0]).toFixed(1)} ${up.place(value).toFixed(1)}`;
        });
        group.append(made("path", { class: "line", fill: "none", d: `M${path.join("L")}`, "stroke-dasharray": ["", "6 3", "2 3", "8 3 2 3"][s % 4] }));
      }
      for (const one of mine) {
        const place = across(one), value = up.place(one.values[y]), [low, high] = one.ends[y];
        if (bars && !isNaN(low) && !isNaN(high))
          group.append(made("path", { class: "bar", d: `M${place.toFixed(1)} ${up.place(low).toFixed(1)}V${up.place(high).toFixed(1)}` }));
        group.append(shape(s, +place.toFixed(1), +value.toFixed(1), mine.length > 60 ? { opacity: .55 } : {}));
        dots.push({ one, place, value });
      }
      svg.append(group);
      if (c >= 0) {
        const item = document.createElement("li"), mark = made("svg", { viewBox: "0 0 12 12", class: `s${s % 6}`, "aria-hidden": "true" });
        mark.append(shape(s, 6, 6));
        item.append(mark, word);
        legend.append(item);
      }
    }
    dots.sort((a, b) => a.place - b.place || a.value - b.value);
    svg.append(made("circle", { class: "ring", r: 8, cx: -99, cy: 0 }));
    plot.append(svg);
  }

  function point(k) { // to a dot, and to its row
    if (!dots[k] || k === at) return;
    dots[at]?.one.row.classList.remove("at");
    at = k;
    const { one, place, value } = dots[k], ring = plot.querySelector(".ring"), y = +chosen.y.value;
    ring.setAttribute("cx", place); ring.setAttribute("cy", value);
    one.row.classList.add("at");
    const [low, high] = one.ends[y], between = isNaN(low) || isNaN(high) ? "" : ` [${say(low, y)}, ${say(high, y)}]`;
    const what = axes.map(i => `${title(i)} ${one.words[i]}`).join(", ");
    const other = order.has(+chosen.x.value) ? "" : `, ${title(+chosen.x.value)} ${say(one.values[+chosen.x.value], +chosen.x.value)}`;
    says.textContent = `${title(y)} ${say(one.values[y], y)}${between}${other}: ${what}`;
  }
  function nearest(event) {
    const area = plot.firstElementChild?.getBoundingClientRect();
    if (!area) return -1;
    const unit = plot.firstElementChild.viewBox.baseVal.width / area.width;
    const x = (event.clientX - area.left) * unit, y = (event.clientY - area.top) * unit;
    let best = -1, least = 400;
    dots.forEach((dot, k) => {
      const far = (dot.place - x) ** 2 + (dot.value - y) ** 2;
      if (far < least) { least = far; best = k; }
    });
    return best;
  }
  plot.addEventListener("pointermove", event => point(nearest(event)));
  plot.addEventListener("click", event => {
    const k = nearest(event);
    point(k);
    dots[k]?.one.row.scrollIntoView({ block: "nearest" });
  });
  plot.addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey || !dots.length) return;
    const last = dots.length - 1;
    const to = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), ArrowDown: Math.min(at + 1, last),
      ArrowUp: Math.max(at - 1, 0), Home: 0, End: last }[event.key];
    if (to !== undefined) { event.preventDefault(); point(to); }
  });
  Object.values(chosen).forEach(select => select.addEventListener("input", draw));
  table.addEventListener("filter", draw);
  part("all").addEventListener("click", () => {
    all(`[data-for="${CSS.escape(table.id)}"]`).forEach(tool => { tool.value = ""; });
    filter(table);
  });
  box.hidden = false;
  let wide = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth && plot.clientWidth !== wide) { wide = plot.clientWidth; draw(); }
  }).observe(plot);
  filter(table);
}
all("[data-slice]").forEach(slice);
