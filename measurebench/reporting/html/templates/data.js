"use strict";
// The page's data, decoded once, and the formats in which numbers are shown.
const page = JSON.parse(document.getElementById("data").textContent);

function decodeColumn(column) {
  return Array.isArray(column) ? column : column.codes.map((code) => (code < 0 ? null : column.levels[code]));
}

function decode(set) {
  const names = Object.keys(set.columns);
  const values = names.map((name) => decodeColumn(set.columns[name]));
  const rows = [];
  for (let i = 0; i < set.n; i++) {
    const row = { _i: i };
    for (let c = 0; c < names.length; c++) row[names[c]] = values[c][i];
    rows.push(row);
  }
  for (const [alias, name] of Object.entries(set.aliases || {})) rows.forEach((row) => (row[alias] = row[name]));
  return rows;
}

const decoded = {};
function dataset(name) {
  if (!(name in decoded)) decoded[name] = decode(page.datasets[name]);
  return decoded[name];
}
const models = dataset("models");

// Made once: a formatter per cell would be felt in a table of thousands of cells.
const grouped = new Intl.NumberFormat("en");
const collator = new Intl.Collator("en", { numeric: true });
const whole = (value) => grouped.format(value).replace("-", "\u2212");

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function fixed(value, digits) {
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "\u2212");
}

function compact(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return whole(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [mantissa, exponent] = value.toExponential(2).split("e");
    return `${mantissa}e${Number(exponent)}`.replaceAll("-", "\u2212");
  }
  return value.toPrecision(4).replace("-", "\u2212");
}

const formats = {
  text: (value) => String(value),
  integer: (value) => whole(Math.round(value)),
  number: compact,
  percent: (value) => `${fixed(value * 100, 1)} %`,
  percent2: (value) => `${fixed(value * 100, 2)} %`,
  points: (value) => fixed(value * 100, 1),
  tau: (value) => fixed(value, 2),
  p: (value) => (value < 0.001 ? "< 0.001" : fixed(value, 3)),
};

function shown(value, format) {
  if (value === null || value === undefined || value === "") return "\u2013";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return isNumber(value) ? (formats[format] || compact)(value) : String(value);
}

// A reader types what is shown: 12 in a column of percent means 0.12.
const scaleOf = (format) => (["percent", "percent2", "points"].includes(format) ? 0.01 : 1);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function saveFile(name, type, content) {
  const address = content instanceof Blob ? URL.createObjectURL(content) : URL.createObjectURL(new Blob([content], { type }));
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function csvOf(keys, rows, names = keys) {
  // A spreadsheet would run a text that starts like a formula; a quote in front keeps it text.
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...rows.map((row) => keys.map((key) => row[key]))].map((line) => line.map(cell).join(",")).join("\n") + "\n";
}

function compare(a, b, direction) {
  const missing = (value) => value === null || value === undefined || value === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const order = isNumber(a) && isNumber(b) ? a - b : collator.compare(String(a), String(b));
  return direction * order;
}
