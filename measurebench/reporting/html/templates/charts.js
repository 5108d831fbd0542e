// Charts: drawn when they come into sight, fed with the current view, and selecting in it.
const charts = [];

function dataNames(spec, found = new Set()) {
  if (spec && typeof spec === "object") {
    if (spec.data && spec.data.name && !spec.data.values) found.add(spec.data.name);
    Object.values(spec).forEach((part) => dataNames(part, found));
  }
  return found;
}

function chartRows(name, chart) {
  const measure = chart.dynamic ? state.measure : null;
  if (name === "models") {
    const some = state.selected.size > 0;
    return visible().map((row) => {
      const drawn = { _i: row._i, _dim: some && !state.selected.has(row._i) };
      for (const field of chart.fields) drawn[field] = row[field];
      if (measure) drawn._x = row[measure];
      return drawn;
    });
  }
  const rows = dataset(name).filter((row) => !chart.limit || row.order === undefined || row.order < chart.limit);
  if (name === "fits") return rows.filter((row) => row.measure === measure && visibleDefense(row._defense)).map((row) => ({ ...row }));
  return rows.map((row) => ({ ...row }));
}

// Vega copies its rows several times: of a hundred columns a chart gets those that its specification names.
function fieldsOf({ spec, columns }) {
  const text = JSON.stringify(spec).replaceAll("\\", "");
  const shownBelow = new Set(columns.map((column) => column.key));
  return Object.keys(models[0] || {}).filter((key) => shownBelow.has(key) || text.includes(key));
}

let defensesInView = null;
function visibleDefense(name) {
  defensesInView ??= new Set(visible().map((row) => row._defense));
  return defensesInView.has(name);
}

function specOf(chart) {
  const text = JSON.stringify(page.figures[chart.id].spec);
  if (!chart.dynamic) return chart.limit ? shortened(JSON.parse(text), chart) : JSON.parse(text);
  const about = page.measures?.find((measure) => measure.id === state.measure);
  const spec = JSON.parse(text, (_, value) => (value === "@title" ? about.axis : value));
  if (state.log && canLog()) for (const layer of spec.layer ? flat(spec) : [spec]) if (layer.encoding?.x?.field === "_x") layer.encoding.x.scale = { type: "log", nice: false };
  return spec;
}

const shortened = (spec, chart) => ({ ...spec, height: (spec.height * chart.limit) / page.figures[chart.id].rows });
// Names of rows take a third of the width, not more and not less; on a telephone legends break and axes have few ticks.
function fitted({ encoding = {} }, width) {
  const { x, y, color, shape } = encoding;
  if (y?.axis?.labelLimit > 200) y.axis.labelLimit = Math.round(Math.min(340, Math.max(132, 0.34 * width)));
  if (width > 560) return;
  for (const channel of [color, shape]) if (channel?.legend?.columns === 4) channel.legend.columns = 2;
  if (x?.axis?.tickCount) x.axis.tickCount = Math.min(x.axis.tickCount, 4);
}
const flat = (spec) => (spec.layer ? spec.layer.flatMap(flat) : [spec]);
const canLog = () => models.every((row) => !isJudged(row) || !isNumber(row[state.measure]) || row[state.measure] > 0);

async function draw(chart) {
  if (chart.drawing) return chart.drawing;
  chart.drawing = (async () => {
    const spec = specOf(chart);
    const width = chart.holder.clientWidth;
    flat(spec).forEach((layer) => fitted(layer, width));
    const colors = isCrowded(chart) ? colorsNow() : null;
    const patch = (compiled) => ({ ...compiled, data: withRows(compiled.data, chart) });
    const result = await vegaEmbed(chart.holder, colors ? resolved(spec, colors) : spec, { renderer: colors ? "canvas" : "svg", actions: false, config: colors ? resolved(page.config, colors) : page.config, tooltip: { theme: "page" }, patch });
    chart.view?.finalize();
    chart.view = result.view;
    wire(chart);
    const picture = chart.holder.querySelector("svg, canvas");
    picture?.setAttribute("role", "img");
    picture?.setAttribute("aria-labelledby", `${chart.id}-title`);
    picture?.setAttribute("aria-describedby", `${chart.id}-summary`);
    chart.figure.dataset.drawn = "true";
  })();
  return chart.drawing;
}

// Many marks are painted: as elements each would have to be styled, laid out and kept.
const CROWDED = 500;
const isCrowded = ({ id }) => !page.figures[id].rows && page.datasets[page.figures[id].dataset].n > CROWDED;
const crowded = () => charts.filter((chart) => chart.drawing && isCrowded(chart));

// What is painted knows no CSS variables: it takes the colours of the moment, and those of paper for printing.
let onPaper = false;
function colorsNow() {
  if (onPaper) return page.colors;
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(Object.keys(page.colors).map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function setPaper(on) {
  onPaper = on;
  crowded().forEach(redraw);
  if (on) charts.forEach(draw);
}

// Rows go in after compilation, which would copy them, and before the first run, which would be without extent.
function withRows(sources, chart) {
  return sources.map((source) => (source.name in page.datasets && !source.values && !source.source ? { ...source, values: chartRows(source.name, chart) } : source));
}

function feed(chart, names) {
  for (const name of names) if (name in page.datasets) chart.view.data(name, chartRows(name, chart));
}

function redraw(chart) {
  if (!chart.drawing) return;
  chart.drawing = null;
  delete chart.figure.dataset.drawn;
  draw(chart);
}

function refresh(chart) {
  if (!chart.view) return;
  const names = [...dataNames(page.figures[chart.id].spec)].filter((name) => name === "models" || name === "fits");
  if (!names.length) return;
  feed(chart, names);
  chart.view.runAsync();
}

function wire(chart) {
  const about = page.figures[chart.id];
  if (about.picks) chart.view.addEventListener("click", (_, item) => item?.datum?.measure && pick(item.datum.measure));
  if (!about.brush) return;
  chart.view.addEventListener("click", (event, item) => {
    if (!item || !isNumber(item.datum?._i)) return;
    const only = state.selected.size === 1 && state.selected.has(item.datum._i);
    if (!event.shiftKey) state.selected = new Set();
    if (!only) state.selected.add(item.datum._i);
    state.source = "click";
    showRow(item.datum._i);
    changed("selection");
  });
  // Dragging must not end in a redraw for every pixel.
  let waiting = 0;
  chart.view.addSignalListener("brush", (_, value) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => brushed(chart, value), 120);
  });
}

// A model without the target, or one that the analysis left out, is in no chart.
const isJudged = (row) => row._target === undefined || isNumber(row._target);

function brushed(chart, value) {
  const bounds = Object.entries(value || {}).filter(([, range]) => Array.isArray(range) && range.length === 2);
  if (!bounds.length) {
    if (state.source !== chart.id) return;
    state.selected = new Set();
    state.source = null;
  } else {
    const read = (row, field) => (field === "_x" && chart.dynamic ? row[state.measure] : row[field]);
    const inside = (row) => bounds.every(([field, range]) => isNumber(read(row, field)) && read(row, field) >= Math.min(...range) && read(row, field) <= Math.max(...range));
    state.selected = new Set(visible().filter((row) => isJudged(row) && inside(row)).map((row) => row._i));
    state.source = chart.id;
  }
  changed("selection");
}

function pick(measure) {
  if (!page.measures?.some((each) => each.id === measure)) return;
  state.measure = measure;
  changed("measure");
  const target = document.getElementById("fig-scatter");
  if (!target) return;
  target.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  document.getElementById("measure")?.focus({ preventScroll: true });
}

function kendall(rows, x, y) {
  const kept = rows.filter((row) => isNumber(row[x]) && isNumber(row[y]));
  let sum = 0, inX = 0, inY = 0;
  for (let i = 0; i < kept.length; i++)
    for (let j = 0; j < i; j++) {
      const a = Math.sign(kept[i][x] - kept[j][x]), b = Math.sign(kept[i][y] - kept[j][y]);
      sum += a * b;
      inX += a !== 0;
      inY += b !== 0;
    }
  return { n: kept.length, tau: inX && inY ? sum / Math.sqrt(inX * inY) : null };
}

// The formula is taken from the glossary, where it is set as mathematics; a page without one shows its plain text.
function explain(about) {
  const cell = [...document.querySelectorAll("[data-formula]")].find((each) => each.dataset.formula === about.id);
  const formula = cell ? [...cell.cloneNode(true).childNodes] : about.formula ? [about.formula] : [];
  const place = document.getElementById("about-measure");
  place.textContent = about.explanation ? `${about.explanation} ` : "";
  if (formula.length) place.append("Formula: ", ...formula, ". ");
  if (about.source) place.append(`Source: ${about.source}.`);
}

function tellMeasure() {
  const about = page.measures?.find((measure) => measure.id === state.measure);
  const figure = document.getElementById("fig-scatter");
  if (!about || !figure) return;
  document.getElementById("scatter-title").textContent = about.sentence;
  document.getElementById("scatter-summary").textContent = about.inside;
  explain(about);
  document.getElementById("measure").value = about.id;
  const log = document.getElementById("log");
  log.disabled = !canLog();
  log.checked = state.log && canLog();
  const live = document.getElementById("live");
  live.textContent = "";
  if (isNarrowed()) {
    const { n, tau } = kendall(current(), state.measure, "_target");
    live.textContent = `In the current view (${n} models) \u03c4 = ${tau === null ? "\u2013" : fixed(tau, 2)}; the statements above are about all models in the statistics.`;
  }
}

listeners.push((what) => {
  defensesInView = null;
  cache = null;
  if (what === "measure") charts.filter((chart) => chart.dynamic).forEach(redraw);
  else if (what !== "sort" && what !== "columns") charts.forEach(refresh);
  tellMeasure();
});

// Outside the page there are no CSS variables: a file gets the light colours.
function resolved(value, colors = page.colors) {
  if (typeof value === "string" && value.startsWith("var(--")) return colors[value.slice(6, -1)];
  if (Array.isArray(value)) return value.map((part) => resolved(part, colors));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, resolved(part, colors)]));
  return value;
}

async function saveChart(chart, kind) {
  const spec = resolved({ ...specOf(chart), config: { ...page.config, background: "var(--paper)", padding: 14 } });
  const title = document.getElementById(`${chart.id}-title`).textContent;
  spec.title = { text: wrapped(title, 84), fontSize: 14, anchor: "start", offset: 12 };
  if (spec.width === "container") spec.width = 640;
  const patch = (compiled) => ({ ...compiled, data: withRows(compiled.data, chart) });
  const { view } = await vegaEmbed(document.createElement("div"), spec, { renderer: "none", actions: false, tooltip: false, patch });
  if (kind === "svg") saveFile(`${chart.id}.svg`, "image/svg+xml", await view.toSVG());
  else (await view.toCanvas(2)).toBlob((blob) => saveFile(`${chart.id}.png`, "image/png", blob), "image/png");
  view.finalize();
}

function wrapped(text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if ((lines[lines.length - 1] + word).length > width) lines.push("");
    lines[lines.length - 1] += (lines[lines.length - 1] ? " " : "") + word;
  }
  return lines;
}

// What a column of a chart's data is called outside the page.
const nameOf = (key) => (key === "_x" ? state.measure : (page.names || {})[key] || key);

// Each chart's data as a table, built when it is opened.
function dataRows(chart) {
  const about = page.figures[chart.id];
  const rows = about.dataset === "models" ? chartRows("models", chart) : [...dataset(about.dataset)];
  const columns = about.columns.map((column) => (column.key === "_x" ? { ...column, label: page.measures.find((measure) => measure.id === state.measure).title } : column));
  const keep = about.dataset === "models" ? rows.filter((row) => isJudged(row) && columns.some((column) => isNumber(row[column.key]))) : rows.filter((row) => !row.sign);
  return { columns, rows: keep, picks: about.picks };
}

const LONGEST = 300;
function fillData(chart, host, sort = null) {
  const { columns, rows, picks } = dataRows(chart);
  if (sort) rows.sort((a, b) => compare(a[sort.key], b[sort.key], sort.direction));
  const header = columns.map((column) => {
    const active = sort && sort.key === column.key;
    const next = { key: column.key, direction: active ? -sort.direction : column.format === "text" ? 1 : -1 };
    const button = element("button", { type: "button", class: "sort", "data-key": column.key, onclick: () => { fillData(chart, host, next); host.querySelector(`button[data-key="${CSS.escape(column.key)}"]`)?.focus(); } }, column.label, element("span", { class: "arrow", "aria-hidden": "true" }, active ? (sort.direction > 0 ? "\u25b2" : "\u25bc") : ""));
    return element("th", { scope: "col", class: column.format === "text" ? null : "num", "aria-sort": active ? (sort.direction > 0 ? "ascending" : "descending") : "none" }, button);
  });
  const cell = (column, row, i) => {
    const text = shown(row[column.key], column.format);
    const content = i === 0 && picks && row.measure ? element("button", { type: "button", class: "link", onclick: () => pick(row.measure) }, text) : text;
    return element(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: column.format === "text" ? null : "num" }, content);
  };
  const body = rows.slice(0, LONGEST).map((row) => element("tr", {}, ...columns.map((column, i) => cell(column, row, i))));
  const title = document.getElementById(`${chart.id}-title`).textContent;
  const more = rows.length > LONGEST ? [element("p", { class: "told" }, `The first ${LONGEST} of ${rows.length.toLocaleString("en")} rows; the CSV file has all.`)] : [];
  host.replaceChildren(element("div", { class: "scroll short", tabindex: "0", role: "region", "aria-label": `Data: ${title}` }, element("table", {}, element("caption", { class: "unseen" }, title), element("thead", {}, element("tr", {}, ...header)), element("tbody", {}, ...body))), ...more);
}

function setUpChart(figure) {
  const id = figure.dataset.chart;
  const chart = { id, figure, holder: figure.querySelector(".chart"), dynamic: Boolean(page.figures[id].dynamic), drawing: null, view: null, fields: fieldsOf(page.figures[id]), limit: page.figures[id].limit < page.figures[id].rows ? page.figures[id].limit : 0 };
  charts.push(chart);
  const more = figure.querySelector("button[data-all]");
  more?.addEventListener("click", () => {
    chart.limit = chart.limit ? 0 : page.figures[id].limit;
    more.textContent = chart.limit ? more.dataset.all : more.dataset.first;
    redraw(chart);
  });
  const host = figure.querySelector(".data-host");
  const details = figure.querySelector("details.data");
  let sort = null;
  const fill = () => details.open && fillData(chart, host, sort);
  details.addEventListener("toggle", fill);
  listeners.push((what) => what !== "sort" && what !== "columns" && page.figures[id].dataset === "models" && fill());
  if (details.open) fill();
  figure.querySelectorAll("button[data-save]").forEach((button) =>
    button.addEventListener("click", () => {
      if (button.dataset.save !== "csv") return saveChart(chart, button.dataset.save);
      const { columns, rows } = dataRows(chart);
      const keys = columns.map((column) => column.key);
      saveFile(`${id}.csv`, "text/csv", csvOf(keys, rows, keys.map(nameOf)));
    }),
  );
  return chart;
}
