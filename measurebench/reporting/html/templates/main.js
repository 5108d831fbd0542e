// Puts the page together once its parts are there.
const byId = (id) => document.getElementById(id);

function tellView() {
  const n = visible().length;
  const parts = [n === models.length ? `All ${n.toLocaleString("en")} ${page.noun}` : `${n.toLocaleString("en")} of ${models.length.toLocaleString("en")} ${page.noun}`];
  if (state.selected.size) parts.push(`${state.selected.size.toLocaleString("en")} selected`);
  byId("view-told").textContent = parts.join(", ");
  byId("clear").hidden = !toHash();
}

function buildFilters() {
  const host = byId("filters");
  if (!host) return;
  host.replaceChildren(...page.filters.map((filter) => {
    const chosen = state.filters[filter.key];
    const boxes = filter.levels.map(({ level, n }) => {
      const box = element("input", { type: "checkbox", "data-axis": filter.key, value: level });
      box.checked = !chosen || chosen.has(level);
      box.addEventListener("change", () => choose(filter));
      return element("label", {}, box, level, element("small", {}, ` ${n}`));
    });
    return element("fieldset", {}, element("legend", {}, filter.label), ...boxes);
  }));
}

function choose(filter) {
  const boxes = [...document.querySelectorAll(`input[data-axis="${CSS.escape(filter.key)}"]`)];
  const on = boxes.filter((box) => box.checked).map((box) => box.value);
  if (on.length === boxes.length) delete state.filters[filter.key];
  else state.filters[filter.key] = new Set(on);
  state.page = 0;
  changed("filters");
}

function setScheme(choice) {
  if (choice === "auto") delete document.documentElement.dataset.scheme;
  else document.documentElement.dataset.scheme = choice;
  try {
    localStorage.setItem("measurebench-scheme", choice);
  } catch {
    // A page opened from a file may have no storage; the choice then lasts as long as the page.
  }
}

function setUpScheme() {
  let choice = "auto";
  try {
    choice = localStorage.getItem("measurebench-scheme") || "auto";
  } catch {
    choice = "auto";
  }
  const select = byId("scheme");
  if (!["auto", "light", "dark"].includes(choice)) choice = "auto";
  select.value = choice;
  setScheme(choice);
  select.addEventListener("change", () => {
    setScheme(select.value);
    crowded().forEach(redraw);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => crowded().forEach(redraw));
}

function save(kind, rows) {
  const keys = page.columns.map((column) => column.key);
  if (kind === "csv") return saveFile(`${page.file}.csv`, "text/csv", csvOf(keys, rows));
  const plain = rows.map((row) => Object.fromEntries(keys.map((key) => [key, row[key] ?? null])));
  return saveFile(`${page.file}.json`, "application/json", `${JSON.stringify(plain, null, 1)}\n`);
}

function setUpControls() {
  byId("search").addEventListener("input", (event) => {
    state.query = event.target.value;
    state.page = 0;
    changed("query");
  });
  byId("clear").addEventListener("click", () => {
    defaults();
    rebuild();
    changed("measure");
  });
  byId("link").addEventListener("click", async () => {
    let told = "Copied";
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      told = "The address bar has it";
    }
    byId("link").textContent = told;
    setTimeout(() => (byId("link").textContent = "Copy link"), 2000);
  });
  document.querySelectorAll("button[data-download]").forEach((button) =>
    button.addEventListener("click", () => save(button.dataset.download, button.dataset.rows === "all" ? models : current())),
  );
  byId("measure")?.addEventListener("change", (event) => {
    state.measure = event.target.value;
    changed("measure");
  });
  byId("log")?.addEventListener("change", (event) => {
    state.log = event.target.checked;
    changed("measure");
  });
  document.querySelectorAll("a[data-section]").forEach((anchor) =>
    anchor.addEventListener("click", (event) => {
      // The address holds the reader's view; moving about the page must not replace it.
      event.preventDefault();
      const target = byId(anchor.dataset.section);
      target.scrollIntoView();
      target.focus({ preventScroll: true });
    }),
  );
}

function rebuild() {
  byId("search").value = state.query;
  buildFilters();
  if (tableHost) {
    buildTable();
    buildColumns();
  }
  tellMeasure();
  tellView();
}

// The first frame goes before the charts below: they wait for the reader's first move, or for the moment after.
function whenMoving(run) {
  const moves = ["scroll", "wheel", "pointerdown", "keydown", "touchstart", "focusin"];
  const once = () => {
    clearTimeout(late);
    moves.forEach((move) => removeEventListener(move, once));
    run();
  };
  const late = setTimeout(once, 600);
  moves.forEach((move) => addEventListener(move, once, { passive: true }));
}

const whenIdle = (run) => (window.requestIdleCallback ? requestIdleCallback(run, { timeout: 400 }) : setTimeout(run, 50));

// A chart that comes near is drawn at once; the others one after another while the reader does nothing else.
function drawTheRest() {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(charts.find((chart) => chart.figure === entry.target));
  }, { rootMargin: "400px" });
  charts.forEach((chart) => seen.observe(chart.figure));
  const next = () => {
    const waiting = charts.find((chart) => !chart.drawing);
    if (waiting) draw(waiting).finally(() => whenIdle(next));
  };
  whenIdle(next);
}

async function start() {
  setUpScheme();
  readHash();
  setUpControls();
  rebuild();
  listeners.push(tellView);
  document.querySelectorAll("figure[data-chart]").forEach(setUpChart);
  const near = charts.filter((chart) => chart.figure.getBoundingClientRect().top < innerHeight);
  await Promise.all(near.map(draw));
  addEventListener("beforeprint", () => setPaper(true));
  addEventListener("afterprint", () => setPaper(false));
  addEventListener("hashchange", () => {
    if (!writing && readHash()) {
      rebuild();
      changed("measure");
    }
  });
  document.documentElement.dataset.ready = "true";
  performance.mark("ready");
  whenMoving(drawTheRest);
}
start();
