// The pane: figures, one episode, or a pair.

let drawing = 0;

async function drawPane({ focus = false } = {}) {
  const mine = (drawing += 1);
  const { open } = state;
  if (open === null) {
    pane.setAttribute("aria-label", "Overview");
    const view = state.pairs
      ? pairOverview(chosenPairs(pairsNow()), filterFromOverview)
      : overview(chosenRows(), filterFromOverview);
    if (state.missing) view.prepend(el("p", { class: "notice", role: "alert", data: `This file does not hold ${state.missing}.` }));
    pane.replaceChildren(view);
    pane.scrollTop = 0;
    if (focus) pane.querySelector("h2")?.focus();
    return;
  }
  const chosen = state.pairs ? open.rows : [open];
  try {
    const records = await Promise.all(chosen.map(recordOf));
    const windows = state.tab === "tokens" && !state.pairs ? await tokensOf(open) : null;
    if (mine !== drawing) return;
    pane.setAttribute("aria-label", state.pairs ? "Two episodes side by side" : "Episode");
    const body = state.pairs ? compareView(open, records, sought()) : episodeBody(records[0], windows);
    pane.replaceChildren(head(chosen, records), body);
    pane.scrollTop = 0;
    if (state.turn !== null) goToStep(state.turn, focus);
    else if (focus) pane.querySelector("h2").focus();
  } catch (error) {
    if (mine !== drawing) return;
    pane.replaceChildren(el("p", { class: "notice", role: "alert", text: error.message }));
  }
}

function sought() {
  return state.deep ? state.query.trim().toLowerCase() : "";
}

function head(chosen, records) {
  const [row] = chosen;
  const node = el("header", { class: "episode-head" });
  const tool = (name, text, keys, onclick) =>
    el("button", { type: "button", class: "quiet icon-only", "aria-label": text, title: `${text} (${keys})`, onclick }, icon(name));
  const back = el("button", { type: "button", class: "quiet back", onclick: closeOpen }, labelled("left", state.pairs ? "All pairs" : "All episodes"));
  const copy = el("button", { type: "button", class: "quiet" }, labelled("link", "Copy link"));
  copy.addEventListener("click", () => copyLink(copy));
  node.append(
    el("div", { class: "head-tools" }, back, copy, tool("up", "Previous episode", "k", () => move(-1)), tool("down", "Next episode", "j", () => move(1))),
    el("h2", { tabindex: "-1", data: row.task }),
    el("p", { class: "instruction", data: records[0].instruction }),
  );
  if (!state.pairs) node.append(facts(row), elsewhere(row), tabs());
  return node;
}

function facts(row) {
  const fact = (name, value) => (value === null ? null : el("div", {}, el("dt", { text: name }), el("dd", { data: value })));
  const corrected = row.errors ? `${row.errors}, ${row.corrections} corrected` : "0";
  const list = el("dl", { class: "facts" });
  list.append(
    el("div", {}, el("dt", { class: "hidden", text: "Outcome" }), el("dd", {}, badge(row))),
    ...[
      fact("Score", fixed(row.score)),
      fact("Steps", row.steps),
      fact("Errors", corrected),
      fact("Unknown", row.unknown || null),
      fact("Type", row.type),
      fact("Split", row.split),
      fact("Episode", row.episode),
      fact("Run", index.runs.length > 1 ? index.runs[row.run] : null),
      fact("Agent", row.agent),
      fact("Teacher", row.teacher),
      fact("Tokens", row.tokens ? row.tokens.toLocaleString("en") : null),
      fact("Cost", row.cost === null ? null : `$${row.cost.toFixed(4)}`),
      fact("Time", `${fixed(row.seconds, row.seconds < 10 ? 1 : 0)} s`),
    ].filter(Boolean),
  );
  return list;
}

// The same task in other episodes.
function elsewhere(row) {
  const others = rows.filter((one) => one !== row && one.task === row.task && one.env === row.env);
  if (!others.length) return "";
  const node = el("p", { class: "elsewhere" }, "Same task: ");
  for (const other of others.slice(0, 6)) {
    const where = index.runs.length > 1 ? `${index.runs[other.run]}, ` : "";
    const name = `${where}episode ${other.episode ?? "-"}`;
    node.append(el("button", { type: "button", class: "link", data: name, onclick: () => open(other) }), badge(other), " ");
  }
  if (others.length > 6) node.append(`and ${others.length - 6} more `);
  const mate = others.find((one) => one.run !== row.run);
  if (mate) {
    node.append(el("button", { type: "button", class: "quiet", text: "Side by side", onclick: () => openPair(row, mate) }));
  }
  return node;
}

const TABS = [["conversation", "Conversation"], ["tokens", "Tokens"], ["record", "Record"]];

function tabs() {
  const node = el("div", { class: "segments tabs", role: "group", "aria-label": "Shown of this episode" });
  for (const [key, text] of TABS) {
    node.append(el("button", { type: "button", id: `tab-${key}`, "aria-pressed": String(state.tab === key), text, onclick: () => setTab(key) }));
  }
  return node;
}

async function setTab(key) {
  state.tab = key;
  await drawPane();
  byId(`tab-${key}`)?.focus();
  saveAddress(false);
}

function episodeBody(record, windows) {
  if (state.tab === "record") return el("div", { class: "scroll-x" }, recordTable(record));
  if (state.tab === "tokens") return windows === null ? noTokens() : tokenView(windows);
  const talk = stepsOf(record);
  const node = el("div", { class: "conversation" });
  if (talk.steps.length) {
    const chart = scoreChart(talk.steps, narrow.matches ? 340 : 860, (number) => goToStep(number), talk.task?.value);
    node.append(el("figure", {}, chart, chartLegend(talk.steps.some(({ turn }) => isKnown(turn.value)))));
  }
  node.append(...openingOf(talk, sought()));
  node.append(el("ol", { class: "steps" }, talk.steps.map((step) => stepOf(step, { sought: sought(), id: `step-${step.number}` }))));
  return node;
}

function goToStep(number, focus = true) {
  const node = byId(`step-${number}`);
  if (!node) return;
  state.turn = number;
  pane.querySelector(".current")?.classList.remove("current");
  node.classList.add("current");
  node.scrollIntoView({ block: "start" });
  if (focus) node.focus({ preventScroll: true });
  saveAddress(false);
}

// To the next or previous error; among tokens, to the next or previous that are trained.
function goToMark(by) {
  if (state.tab === "tokens" && !state.pairs) goToTrained(by);
  else goToError(by);
}

function goToTrained(by) {
  const runs = [...pane.querySelectorAll(".run.trained")];
  const at = runs.findIndex((run) => run.classList.contains("current"));
  const next = runs[at < 0 ? (by > 0 ? 0 : runs.length - 1) : at + by];
  if (!next) return;
  runs[at]?.classList.remove("current");
  next.classList.add("current");
  next.scrollIntoView({ block: "start" });
}

function goToError(by) {
  const steps = [...pane.querySelectorAll(".step.error")].map((node) => node.closest("[id^='step-']"));
  const now = state.turn ?? 0;
  const numbers = steps.map((node) => Number(node.id.slice(5)));
  const next = by > 0 ? numbers.find((number) => number > now) : numbers.findLast((number) => number < now);
  if (next) goToStep(next);
  else announce(by > 0 ? "No further error." : "No error before this.");
}
