// The table of models: sorted by its headers, filtered by its second row, selected by its boxes.
const tableHost = document.getElementById("table");
const PAGE_SIZES = [25, 50, 100, 500];

const shownColumns = () => {
  const keys = state.columns || page.columns.filter((column) => column.shown || column.key === state.measure).map((column) => column.key);
  return page.columns.filter((column) => keys.includes(column.key));
};

function sortBy(key) {
  const column = columnOf[key];
  const first = column.format === "text" ? 1 : -1;
  const same = state.sort && state.sort.key === key;
  state.sort = { key, direction: same ? -state.sort.direction : first };
  state.page = 0;
  changed("sort");
}

function headerCell(column) {
  const active = state.sort && state.sort.key === column.key;
  const sort = active ? (state.sort.direction > 0 ? "ascending" : "descending") : "none";
  const arrow = active ? (state.sort.direction > 0 ? "\u25b2" : "\u25bc") : "";
  const button = element("button", { type: "button", class: "sort", "data-key": column.key, onclick: () => sortBy(column.key), title: column.title || null }, column.label, element("span", { class: "arrow", "aria-hidden": "true" }, arrow));
  return element("th", { scope: "col", "aria-sort": sort, class: column.format === "text" ? null : "num" }, button);
}

function filterCell(column) {
  const hint = column.format === "text" ? "contains" : "> 5 or 2..4";
  const input = element("input", { type: "text", value: state.cells[column.key] || "", placeholder: hint, "aria-label": `Filter ${column.label}: ${hint}`, "data-filter": column.key });
  input.addEventListener("input", () => {
    state.cells[column.key] = input.value;
    state.page = 0;
    changed("cells");
  });
  return element("td", {}, input);
}

// Long texts get room, so that a title does not become a column of single words.
const widths = {};
function width(column) {
  if (!(column.key in widths)) {
    const longest = Math.max(...models.slice(0, 200).map((row) => shown(row[column.key], "text").length), 0);
    widths[column.key] = longest > 34 ? "long" : longest > 14 ? "mid" : "brief";
  }
  return widths[column.key];
}

// The id of a model breaks where its parts meet.
const breakable = (text) => text.split(/(?<=[_/])/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));

function bodyCell(column, row) {
  const value = row[column.key];
  const text = shown(value, column.format);
  const kind = column.format === "text" ? width(column) : "num";
  const head = column.key === "model_id";
  const link = column.link && row[column.link];
  const warning = column.warning && row[column.warning];
  const content = link && /^https?:\/\//.test(link) ? [element("a", { href: link, rel: "noopener noreferrer" }, text)] : head ? breakable(text) : [text];
  // The mark stands before the number, so that digits stay in line; its words are in the column of warnings too.
  if (warning && text !== "\u2013") content.unshift(element("span", { class: "warn", role: "img", "aria-label": `Warning: ${warning}`, title: warning }, "\u26a0"), "\u00a0");
  return element(head ? "th" : "td", { class: kind, scope: head ? "row" : null, title: isNumber(value) && kind === "num" ? String(value) : null }, ...content);
}

function toggle(row, on) {
  if (on) state.selected.add(row._i);
  else state.selected.delete(row._i);
  state.source = "table";
  changed("selection");
}

function bodyRow(row, columns) {
  const chosen = state.selected.has(row._i);
  const box = element("input", { type: "checkbox", "aria-label": `Select ${row.model_id}`, "data-row": row._i });
  box.checked = chosen;
  box.addEventListener("change", () => toggle(row, box.checked));
  return element("tr", { class: chosen ? "chosen" : null }, element("td", { class: "box" }, box), ...columns.map((column) => bodyCell(column, row)));
}

let bodyParts = null;
function buildTable() {
  const columns = shownColumns();
  const all = element("input", { type: "checkbox", "aria-label": "Select all models in view" });
  all.addEventListener("change", () => {
    state.selected = new Set(all.checked ? visible().map((row) => row._i) : []);
    state.source = "table";
    changed("selection");
  });
  const head = element("thead", {}, element("tr", {}, element("th", { class: "box" }, all), ...columns.map(headerCell)), element("tr", { class: "cells" }, element("td", { class: "box" }), ...columns.map(filterCell)));
  const body = element("tbody");
  const table = element("table", { class: "models" }, element("caption", { class: "unseen" }, "Models, one row each. Headers sort; the second row filters."), head, body);
  const scroller = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of models" }, table);
  const pager = element("nav", { class: "pager", "aria-label": "Pages of the table" });
  tableHost.replaceChildren(scroller, pager);
  bodyParts = { columns, body, pager, all };
  fillTable();
}

function fillTable() {
  const { columns, body, pager, all } = bodyParts;
  const rows = sorted();
  const pages = Math.max(1, Math.ceil(rows.length / state.size));
  state.page = Math.min(state.page, pages - 1);
  const start = state.page * state.size;
  const part = rows.slice(start, start + state.size);
  body.replaceChildren(...part.map((row) => bodyRow(row, columns)));
  if (!part.length) body.append(element("tr", {}, element("td", { colspan: columns.length + 1, class: "none" }, "No model passes the filters.")));
  all.checked = rows.length > 0 && rows.every((row) => state.selected.has(row._i));
  all.indeterminate = !all.checked && state.selected.size > 0;
  fillPager(pager, rows.length, pages, start, part.length);
}

function fillPager(pager, total, pages, start, n) {
  const go = (number) => () => {
    state.page = number;
    fillTable();
  };
  const sizes = element("select", { "aria-label": "Rows per page" }, ...PAGE_SIZES.map((size) => element("option", { value: size, selected: size === state.size }, `${size} rows`)));
  sizes.addEventListener("change", () => {
    state.size = Number(sizes.value);
    state.page = 0;
    fillTable();
  });
  pager.replaceChildren(
    element("span", { class: "told" }, total ? `${(start + 1).toLocaleString("en")}\u2013${(start + n).toLocaleString("en")} of ${total.toLocaleString("en")}` : "0 models"),
    element("button", { type: "button", disabled: state.page === 0, onclick: go(state.page - 1) }, "Previous"),
    element("button", { type: "button", disabled: state.page >= pages - 1, onclick: go(state.page + 1) }, "Next"),
    sizes,
  );
}

function refocused(rebuild) {
  const key = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
  rebuild();
  if (key) tableHost.querySelector(`button[data-key="${CSS.escape(key)}"]`)?.focus();
}

function showRow(i) {
  const place = sorted().findIndex((row) => row._i === i);
  if (place >= 0) state.page = Math.floor(place / state.size);
}

listeners.push((what) => {
  if (!tableHost) return;
  if (what === "cells" || what === "query" || what === "filters" || what === "selection") fillTable();
  else refocused(buildTable);
  if (what === "measure" || what === "columns") buildColumns();
});

// The list of all columns is built when it is opened: there may be hundreds.
const columnList = document.getElementById("columns");
columnList?.parentElement.addEventListener("toggle", buildColumns);
function buildColumns() {
  if (!columnList?.parentElement.open) return;
  const on = new Set(shownColumns().map((column) => column.key));
  const groups = [...new Set(page.columns.map((column) => column.group))];
  const focused = document.activeElement?.dataset.column;
  columnList.replaceChildren(...groups.map((group) => columnGroup(group, on)));
  if (focused) columnList.querySelector(`input[data-column="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function columnGroup(group, on) {
  const members = page.columns.filter((column) => column.group === group);
  const set = (keys, value) => {
    keys.forEach((key) => (value ? on.add(key) : on.delete(key)));
    state.columns = page.columns.map((column) => column.key).filter((key) => on.has(key));
    changed("columns");
  };
  const boxes = members.map((column) => {
    const box = element("input", { type: "checkbox", "data-column": column.key });
    box.checked = on.has(column.key);
    box.addEventListener("change", () => set([column.key], box.checked));
    return element("label", {}, box, column.label);
  });
  const every = members.every((column) => on.has(column.key));
  const all = element("button", { type: "button", class: "quiet", onclick: () => set(members.map((column) => column.key), !every) }, every ? "none" : "all");
  return element("fieldset", { class: members.length > 24 ? "many" : null }, element("legend", {}, group, " ", all), ...boxes);
}
