// What ties it together: the list's form, opening and closing, the address.

const byId = (id) => document.getElementById(id);
const pane = byId("pane");
const narrow = matchMedia("(max-width: 859px)");
const pairsNow = () => pairsOf(...state.sides);
const hasPairs = index.runs.length > 1;

// The list and its form.

function filtersShown() {
  if (state.pairs) return [PAIR_FILTER, FILTERS[2]];
  return FILTERS.filter((filter) => filter.tests || choices(filter).length > 1);
}

function drawFilters() {
  const box = byId("filters");
  box.replaceChildren();
  if (state.pairs && index.runs.length > 2) box.append(sidePicker(0), sidePicker(1));
  for (const filter of filtersShown()) {
    const select = el("select", { id: `filter-${filter.key}` }, el("option", { value: "", text: "any" }));
    for (const [value, name] of choices(filter)) select.append(el("option", { value, text: shown(name) }));
    select.value = state.filters.get(filter.key) ?? "";
    select.addEventListener("change", () => setFilter(filter.key, select.value));
    box.append(el("div", { class: "filter" }, el("label", { for: select.id, text: filter.label }), select));
  }
}

function sidePicker(side) {
  const select = el("select", { id: `side-${side}` });
  index.runs.forEach((name, run) => select.append(el("option", { value: run, text: shown(name) })));
  select.value = state.sides[side];
  select.addEventListener("change", () => {
    const run = Number(select.value);
    const other = state.sides[1 - side];
    state.sides = side === 0 ? [run, other] : [other, run];
    if (run === other) state.sides.reverse();
    state.open = null;
    refresh();
  });
  return el("div", { class: "filter" }, el("label", { for: select.id, text: `Run ${"AB"[side]}` }), select);
}

function setFilter(key, value) {
  if (value) state.filters.set(key, value);
  else state.filters.delete(key);
  drawFilters();
  byId(`filter-${key}`)?.focus({ preventScroll: true });
  refreshList();
  if (!state.open) drawPane();
  saveAddress(false);
}

function filterFromOverview(key, value) {
  setFilter(key, value);
  if (narrow.matches) showPane("list");
  list.box.focus();
}

function drawSort() {
  const sorts = state.pairs ? PAIR_SORTS : SORTS;
  const useless = new Set();
  if (!rows.some((row) => row.tokens)) useless.add("tokens");
  if (!rows.some((row) => row.cost)) useless.add("cost");
  const options = [...sorts].filter(([key]) => !useless.has(key));
  byId("sort").replaceChildren(...options.map(([value, [text]]) => el("option", { value, text })));
  byId("sort").value = state.sort;
  byId("direction").replaceChildren(icon(state.down ? "down" : "up"));
  byId("direction").setAttribute("aria-label", state.down ? "Falling order: change to rising" : "Rising order: change to falling");
}

function refreshList({ stay = false } = {}) {
  const items = state.pairs ? chosenPairs(pairsNow()) : chosenRows();
  const open = state.pairs ? (items.find((pair) => samePair(pair, state.open)) ?? null) : state.open;
  const same = state.pairs ? samePair : (one, other) => one === other;
  setItems(items, state.pairs ? pairCard : rowCard, open, stay ? same : null);
  const of = state.pairs ? pairsNow().length : rows.length;
  const noun = state.pairs ? "pair" : "episode";
  const text = items.length === of ? count(of, noun) : `${items.length.toLocaleString("en")} of ${count(of, noun)}`;
  byId("count").textContent = text;
  if (!stay) announce(text);
  const active = state.filters.size + (state.query ? 1 : 0);
  byId("filter-count").textContent = state.filters.size ? `${state.filters.size} set` : "";
  byId("clear").hidden = active === 0;
  list.box.classList.toggle("none", items.length === 0);
}

function samePair(one, other) {
  return other !== null && one.rows[0] === other.rows[0] && one.rows[1] === other.rows[1];
}

let searching = 0;

async function search() {
  const mine = (searching += 1);
  deepFound = null;
  refreshList();
  if (!state.open) drawPane();
  saveAddress(false);
  const query = state.query.trim().toLowerCase();
  if (!state.deep || query.length < 2) return;
  try {
    const found = await searchConversations(
      query,
      () => mine === searching,
      (share) => (byId("count").textContent = `searching, ${percent(share)}`),
    );
    if (found === null || mine !== searching) return;
    deepFound = found;
    refreshList();
    drawPane();
  } catch (error) {
    byId("count").textContent = error.message;
  }
}

// Opening and closing.

function open(item, { enter = false, step = null } = {}) {
  if (state.open !== item) state.turn = step;
  state.open = item;
  state.missing = null;
  mark(list.items.indexOf(item));
  if (list.at >= 0) reveal();
  saveAddress(true);
  if (enter || narrow.matches) showPane("pane");
  const row = state.pairs ? item.rows[0] : item;
  announce(`${shown(row.task)}, ${state.pairs ? "two runs" : `${outcome(row).words}, score ${fixed(row.score)}`}`);
  return drawPane({ focus: enter });
}

function openPair(row, mate) {
  state.sides = [row.run, mate.run].sort((a, b) => a - b);
  state.pairs = true;
  state.filters.clear();
  state.sort = "order";
  state.turn = null;
  const pair = pairsNow().find((one) => one.rows.includes(row)) ?? null;
  state.open = pair;
  refresh();
  if (narrow.matches) showPane("pane");
}

function closeOpen() {
  showPane("list");
  list.box.focus();
  if (narrow.matches) return;
  state.open = null;
  state.turn = null;
  mark(-1);
  saveAddress(true);
  drawPane();
}

function showPane(name) {
  document.body.dataset.pane = name;
  if (name === "list") drawRows();
}

function setMode(pairs) {
  state.pairs = pairs;
  state.open = null;
  state.turn = null;
  state.tab = "conversation";
  state.sort = "order";
  state.filters.clear();
  refresh();
}

function drawModes() {
  const box = byId("modes");
  box.hidden = !hasPairs;
  const button = (text, pairs) => el("button", { type: "button", "aria-pressed": String(state.pairs === pairs), text, onclick: () => setMode(pairs) });
  box.replaceChildren(button("Episodes", false), button("Side by side", true));
}

function drawFacts() {
  const share = percent(total(rows, (row) => row.success) / Math.max(rows.length, 1));
  byId("run-facts").textContent = rows.length ? `${count(rows.length, "episode")}, ${share} successful` : "";
}

function refresh() {
  drawModes();
  drawFilters();
  drawSort();
  byId("query").value = state.query;
  byId("deep").checked = state.deep;
  refreshList();
  saveAddress(false);
  return drawPane();
}

// The address.

let lastOpened = null;

function saveAddress(newPage) {
  const now = address();
  if (now === location.hash || (now === "#" && !location.hash)) return;
  // One step back leads to what was open before, not through every keystroke.
  if (newPage && lastOpened !== state.open) history.pushState(null, "", now);
  else history.replaceState(null, "", now);
  lastOpened = state.open;
}

async function copyLink(button) {
  const link = location.href;
  const words = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(link);
    words.textContent = "Copied";
  } catch {
    // Without leave to write to the clipboard the link is shown instead, to be copied by hand.
    window.prompt("The link to what you see:", link);
  }
  announce("Link copied.");
  setTimeout(() => (words.textContent = "Copy link"), 2000);
}

async function follow() {
  readAddress(location.hash);
  lastOpened = state.open;
  if (state.open || state.missing) showPane("pane");
  else showPane("list");
  await refresh();
  if (state.deep && state.query) await search();
}

// Start.

byId("run-name").append(...index.runs.flatMap((name, at) => [...(at ? [" and "] : []), el("bdi", { data: name })]));
drawFacts();
byId("show-help").textContent = "?";
byId("filter-box").open = !narrow.matches;
drawHelp();
setTheme(savedTheme());

list.onchoose = (item, enter) => open(item, { enter });
document.addEventListener("keydown", onKey);
window.addEventListener("popstate", follow);
window.addEventListener("hashchange", () => location.hash !== address() && follow());
byId("theme").addEventListener("click", nextTheme);
byId("show-help").addEventListener("click", () => byId("help").showModal());
byId("show-overview").addEventListener("click", () => {
  state.open = null;
  state.turn = null;
  mark(-1);
  saveAddress(true);
  showPane("pane");
  drawPane({ focus: true });
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  showPane("pane");
  (pane.querySelector("h2") ?? pane).focus();
});
byId("search").addEventListener("submit", (event) => event.preventDefault());
byId("query").addEventListener("input", () => {
  state.query = byId("query").value;
  search();
});
byId("deep").addEventListener("change", () => {
  state.deep = byId("deep").checked;
  search();
});
byId("clear").addEventListener("click", () => {
  state.filters.clear();
  state.query = byId("query").value = "";
  drawFilters();
  search();
  byId("query").focus();
});
byId("sort").addEventListener("change", () => {
  state.sort = byId("sort").value;
  refreshList();
  saveAddress(false);
});
byId("direction").addEventListener("click", () => {
  state.down = !state.down;
  drawSort();
  refreshList();
  saveAddress(false);
});
narrow.addEventListener("change", drawRows);

(index.live ? catchUp() : Promise.resolve()).then(follow).then(() => {
  document.documentElement.dataset.ready = "yes";
  if (index.live) keepUp();
});
