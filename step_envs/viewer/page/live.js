// Following runs that are still written: only the page that `step-envs view --watch` serves has this part.

const EVERY = 2000; // milliseconds between two questions
const QUIET = 180; // seconds after which the last episode is called long ago
const live = { generation: 0, runs: [], problem: null };

async function ask(name) {
  let answer;
  try {
    answer = await fetch(name, { cache: "no-store" });
  } catch {
    throw new Error("step-envs view --watch does not answer any more: what was read before can still be read. Start it again and open the address that it prints.");
  }
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// Ask for what is new and take it in; returns the new rows, and whether all there is was read.
async function fetchNews() {
  const news = await ask(`news?generation=${live.generation}&from=${rows.length}`);
  const again = news.generation !== live.generation;
  if (again) {
    // The run was begun anew: nothing of before is true any more.
    rows.length = 0;
    unpacked.clear();
    deepFound = deepFound && new Set();
    live.generation = news.generation;
  }
  index.tables = news.tables;
  index.failures = news.failures;
  live.runs = news.runs;
  const fresh = news.start === rows.length ? news.rows.map((values, at) => rowOf(values, news.start + at)) : [];
  for (const row of fresh) rows.push(row);
  return { fresh, again, more: news.more };
}

// Before the first drawing: all that is there already.
async function catchUp() {
  byId("run-facts").after(el("p", { id: "watch-state" }));
  try {
    while ((await fetchNews()).more) drawWatchState();
  } catch (error) {
    live.problem = error.message;
  }
  drawWatchState();
  drawFacts();
}

function keepUp() {
  setTimeout(async () => {
    try {
      let more = true;
      while (more) {
        const news = await fetchNews();
        more = news.more;
        if (news.fresh.length || news.again) await takeIn(news);
      }
      live.problem = null;
    } catch (error) {
      live.problem = error.message;
    }
    drawWatchState();
    keepUp();
  }, EVERY);
}

// Show new rows; what the reader has open, chosen, typed or scrolled to stays.
async function takeIn({ fresh, again }) {
  if (again) readAddress(location.hash);
  const query = state.query.trim().toLowerCase();
  if (deepFound !== null && state.deep && query.length > 1) {
    const mine = searching;
    const found = await searchConversations(query, () => mine === searching, () => {}, fresh);
    if (found !== null) for (const row of found) deepFound.add(row);
  }
  drawFacts();
  extendFilters();
  extendSorts();
  refreshList({ stay: true });
  const found = state.missing === null ? null : state.pairs ? askedPair(state.asked) : askedRow(state.asked);
  if (found !== null) await open(found);
  else if (again) await drawPane();
}

// New choices are added to the filters, so that a list that somebody has open stays open.
function extendFilters() {
  for (const filter of filtersShown()) {
    const select = byId(`filter-${filter.key}`);
    if (!select) {
      const focused = document.activeElement?.id;
      drawFilters();
      if (focused) byId(focused)?.focus({ preventScroll: true });
      return;
    }
    const known = new Set([...select.options].map((option) => option.value));
    for (const [value, name] of choices(filter)) {
      if (!known.has(value)) select.append(el("option", { value, text: shown(name) }));
    }
  }
}

function extendSorts() {
  if (document.activeElement !== byId("sort")) drawSort();
}

// The overview is drawn again, except while somebody selects text in it or points at a place in it by the keyboard.
let drawnOverview = "";

function redrawOverview() {
  const now = `${live.generation} ${rows.length} ${JSON.stringify(index.failures)}`;
  if (state.open !== null || now === drawnOverview) return;
  const selected = getSelection();
  if (!selected.isCollapsed && pane.contains(selected.anchorNode)) return;
  if (pane.contains(document.activeElement) && document.activeElement.matches("button")) return;
  drawnOverview = now;
  const place = pane.scrollTop;
  const focused = pane.contains(document.activeElement);
  drawPane();
  pane.scrollTop = place;
  if (focused) pane.querySelector("h2")?.focus({ preventScroll: true });
}

function drawWatchState() {
  const node = byId("watch-state");
  const words = live.problem ? ["Not followed any more"] : live.runs.map(runWords);
  node.textContent = words.join("; ");
  node.title = live.problem ?? live.runs.map((run) => run.problem).filter(Boolean).join(" ");
  node.dataset.state = live.problem || live.runs.some((run) => run.problem) ? "problem" : followed() ? "running" : "ended";
  if (document.documentElement.dataset.ready) redrawOverview();
}

function followed() {
  return live.runs.some((run) => run.state !== "ended");
}

function runWords(run) {
  if (run.problem) return run.problem;
  if (run.state === "waiting") return "Waiting for the first episode";
  const done = run.planned === null ? count(run.episodes, "episode") : `${run.episodes.toLocaleString("en")} of ${run.planned.toLocaleString("en")}`;
  const failed = run.failed ? `, ${run.failed.toLocaleString("en")} failed` : "";
  if (run.state === "ended") {
    return run.planned === null || run.episodes >= run.planned ? `Ended: ${done}${failed}` : `Stopped at ${done}${failed}`;
  }
  const left = run.left === null ? "" : `, about ${clock(run.left)} left`;
  const quiet = run.quiet !== null && run.quiet > QUIET ? `, the last one ${clock(run.quiet)} ago` : "";
  return `Following: ${done}${failed}${quiet || left}`;
}

function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
