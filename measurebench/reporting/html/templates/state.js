// What the reader chose: filters, selection, sorting, measure. It lives in the address, so a link restores it.
const state = { filters: {}, query: "", cells: {}, selected: new Set(), source: null, sort: null, measure: null, log: false, columns: null, page: 0, size: 50 };
const columnOf = Object.fromEntries(page.columns.map((column) => [column.key, column]));
const listeners = [];

function defaults() {
  Object.assign(state, { filters: {}, query: "", cells: {}, selected: new Set(), source: null, sort: page.sort || null, measure: page.measure || null, log: false, columns: null, page: 0 });
}
defaults();

// "> 5", "<= 3", "2..4" or a plain number on a column of numbers; any other text must be contained.
function cellTest(column, text) {
  const scale = scaleOf(column.format);
  const wanted = text.trim().replaceAll("\u2212", "-").replaceAll("%", "").trim();
  const range = wanted.match(/^(-?[\d.eE+-]+?)\s*\.\.\s*(-?[\d.eE+-]+)$/);
  const bound = wanted.match(/^(<=|>=|<|>|=)\s*(-?[\d.eE+-]+)$/);
  if (column.format !== "text" && range) {
    const [low, high] = [Number(range[1]) * scale, Number(range[2]) * scale];
    return (value) => isNumber(value) && value >= low && value <= high;
  }
  if (column.format !== "text" && bound) {
    const limit = Number(bound[2]) * scale;
    const near = (value) => Math.abs(value - limit) <= 1e-9 + Math.abs(limit) * 1e-6;
    const tests = { "<": (v) => v < limit, ">": (v) => v > limit, "<=": (v) => v < limit || near(v), ">=": (v) => v > limit || near(v), "=": near };
    return (value) => isNumber(value) && tests[bound[1]](value);
  }
  const part = typed(text, column);
  return (value) => typed(shown(value, column.format), column).includes(part);
}

// What is shown with a true minus sign and with commas in large numbers is typed without.
function typed(text, column) {
  const plain = text.trim().toLowerCase().replaceAll("\u2212", "-");
  return column.format === "text" ? plain : plain.replaceAll(",", "");
}

const levelOf = (value) => (value === null || value === undefined ? "not stated" : typeof value === "boolean" ? String(value) : String(value));

// Numbers are compared as numbers: 0.00005 has another name elsewhere.
function levelTest(axis, chosen) {
  const levels = page.filters.find((filter) => filter.key === axis).levels;
  const values = new Set(levels.filter((each) => isNumber(each.value) && chosen.has(each.level)).map((each) => each.value));
  return (row) => (isNumber(row[axis]) && values.has(row[axis])) || chosen.has(levelOf(row[axis]));
}

let cache = null;
function visible() {
  if (cache) return cache;
  const tests = Object.entries(state.filters).map(([axis, chosen]) => levelTest(axis, chosen));
  for (const [key, text] of Object.entries(state.cells)) {
    if (!columnOf[key] || !text.trim()) continue;
    const test = cellTest(columnOf[key], text);
    tests.push((row) => test(row[key]));
  }
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const texts = page.columns.filter((column) => column.format === "text").map((column) => column.key);
  if (words.length) tests.push((row) => words.every((word) => texts.some((key) => String(row[key] ?? "").toLowerCase().includes(word))));
  cache = models.filter((row) => tests.every((test) => test(row)));
  return cache;
}

function sorted() {
  const rows = [...visible()];
  if (!state.sort) return rows;
  const { key, direction } = state.sort;
  return rows.sort((a, b) => compare(a[key], b[key], direction) || a._i - b._i);
}

// The current view: what is selected where something is, otherwise all that the filters let through.
function current() {
  const rows = sorted();
  return state.selected.size ? rows.filter((row) => state.selected.has(row._i)) : rows;
}

const isNarrowed = () => state.selected.size > 0 || visible().length < models.length;

function changed(what) {
  cache = null;
  listeners.forEach((listener) => listener(what));
  writeHash();
}

// "~" stands between the parts of a list, so inside a part it is written in another way.
const listOf = (parts) => parts.map((part) => encodeURIComponent(part).replaceAll("~", "%7E")).join("~");

function toHash() {
  const parts = new URLSearchParams();
  if (state.query) parts.set("q", state.query);
  for (const [axis, levels] of Object.entries(state.filters)) parts.set(`f.${axis}`, listOf([...levels]));
  for (const [key, text] of Object.entries(state.cells)) if (text.trim()) parts.set(`c.${key}`, text);
  const plain = page.sort || {};
  if (state.sort && (state.sort.key !== plain.key || state.sort.direction !== plain.direction)) parts.set("sort", (state.sort.direction < 0 ? "-" : "") + state.sort.key);
  if (state.measure && state.measure !== page.measure) parts.set("m", state.measure);
  if (state.log) parts.set("log", "1");
  if (state.columns) parts.set("cols", listOf(state.columns));
  if (state.selected.size) {
    const chosen = [...state.selected].sort((a, b) => a - b);
    // Ids survive a new release of the data; rows are shorter where many are chosen.
    if (chosen.length <= 40) parts.set("sel", listOf(chosen.map((i) => models[i].model_id)));
    else parts.set("rows", ranges(chosen));
  }
  return parts.toString();
}

function ranges(numbers) {
  const runs = [];
  for (const i of numbers) {
    const last = runs[runs.length - 1];
    if (last && last[1] === i - 1) last[1] = i;
    else runs.push([i, i]);
  }
  return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join("~");
}

let writing = false;
function writeHash() {
  const hash = toHash();
  if (hash === location.hash.slice(1) || (!hash && !location.hash.includes("="))) return;
  writing = true;
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  writing = false;
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readHash() {
  const text = location.hash.slice(1);
  if (!text.includes("=")) return false;
  defaults();
  const list = (value) => value.split("~").filter(Boolean).map(safeDecode);
  for (const [name, value] of new URLSearchParams(text)) {
    if (name === "q") state.query = value;
    else if (name.startsWith("f.") && page.filters.some((filter) => filter.key === name.slice(2))) state.filters[name.slice(2)] = new Set(list(value));
    else if (name.startsWith("c.")) state.cells[name.slice(2)] = value;
    else if (name === "sort") {
      const key = value.replace(/^-/, "");
      if (columnOf[key]) state.sort = { key, direction: value.startsWith("-") ? -1 : 1 };
    } else if (name === "m" && (page.measures || []).some((measure) => measure.id === value)) state.measure = value;
    else if (name === "log") state.log = true;
    else if (name === "cols") state.columns = list(value).filter((key) => columnOf[key]);
    else if (name === "sel") {
      const ids = new Set(list(value));
      models.forEach((row) => ids.has(row.model_id) && state.selected.add(row._i));
    } else if (name === "rows") readRows(value);
  }
  cache = null;
  return true;
}

function readRows(text) {
  for (const part of text.split("~")) {
    const [low, high = low] = part.split("-").map(Number);
    for (let i = Math.max(0, low); i <= Math.min(high, models.length - 1); i++) state.selected.add(i);
  }
}
