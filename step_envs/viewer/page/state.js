// What is looked at: filters, order, and what is open. All of it is in the address, so that a link shows the same.

const FILTERS = [
  { key: "run", label: "Run", value: (row) => index.runs[row.run] },
  { key: "env", label: "Environment", value: (row) => row.env },
  { key: "type", label: "Task type", value: (row) => row.type },
  { key: "split", label: "Split", value: (row) => row.split },
  { key: "outcome", label: "Outcome", tests: outcomeTests() },
  {
    key: "errors",
    label: "Errors",
    tests: new Map([
      ["some", ["with errors", (row) => row.errors > 0]],
      ["none", ["without errors", (row) => row.errors === 0]],
      ["corrected", ["with corrections", (row) => row.corrections > 0]],
      ["uncorrected", ["not all corrected", (row) => row.corrections < row.errors]],
    ]),
  },
  {
    key: "unknown",
    label: "Unknown verdicts",
    tests: new Map([
      ["some", ["with unknown", (row) => row.unknown > 0]],
      ["none", ["without unknown", (row) => row.unknown === 0]],
    ]),
  },
  { key: "agent", label: "Agent", value: (row) => row.agent },
  { key: "teacher", label: "Teacher", value: (row) => row.teacher },
];

const PAIR_FILTER = {
  key: "outcome",
  label: "Outcome",
  tests: new Map([
    ["differ", ["outcomes differ", ([a, b]) => a.success !== b.success]],
    ["left", ["only A succeeds", ([a, b]) => a.success && !b.success]],
    ["right", ["only B succeeds", ([a, b]) => !a.success && b.success]],
    ["both", ["both succeed", ([a, b]) => a.success && b.success]],
    ["neither", ["neither succeeds", ([a, b]) => !a.success && !b.success]],
  ]),
};

const SORTS = new Map([
  ["order", ["As collected", (row) => row.order]],
  ["task", ["Task", (row) => row.task]],
  ["score", ["Score", (row) => row.score]],
  ["errors", ["Errors", (row) => row.errors]],
  ["unknown", ["Unknown verdicts", (row) => row.unknown]],
  ["steps", ["Steps", (row) => row.steps]],
  ["tokens", ["Tokens", (row) => row.tokens]],
  ["cost", ["Cost", (row) => row.cost ?? 0]],
  ["seconds", ["Time", (row) => row.seconds]],
]);

const PAIR_SORTS = new Map([
  ["order", ["As collected", (pair) => pair.order]],
  ["task", ["Task", (pair) => pair.rows[0].task]],
  ["difference", ["Difference in score", (pair) => pair.rows[1].score - pair.rows[0].score]],
]);

const state = {
  pairs: false, // side by side, or single episodes
  sides: [0, 1], // the two runs that stand side by side
  query: "",
  deep: false,
  filters: new Map(),
  sort: "order",
  down: false,
  open: null, // a row or a pair
  tab: "conversation",
  turn: null, // number of the step to show
  missing: null, // what an address asked for and the file does not hold, in words
  asked: null, // that address
};

function outcomeTests() {
  const tests = new Map([
    ["success", ["success", (row) => row.success]],
    ["unsuccessful", ["unsuccessful", (row) => !row.success]],
    ["recovered", ["recovered from errors", (row) => row.success && row.errors > 0]],
  ]);
  // Of a run that is followed it is not known yet how its episodes end.
  const reasons = index.live ? new Set(OUTCOMES.keys()) : new Set(rows.map((row) => row.stop));
  for (const [reason, [, words]] of OUTCOMES) {
    if (!tests.has(reason) && reasons.has(reason)) tests.set(reason, [words, (row) => row.stop === reason && !row.success]);
  }
  return tests;
}

// The choices of a filter: [value, words] of each.
function choices(filter) {
  if (filter.tests) return [...filter.tests].map(([value, [words]]) => [value, words]);
  const values = new Set(rows.map(filter.value));
  return [...values].sort(compareText).map((value) => [value, value]);
}

function compareText(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}

function compareBy(of, down) {
  return (a, b) => {
    const [x, y] = [of(a), of(b)];
    const order = typeof x === "string" ? compareText(x, y) : x - y;
    return (down ? -order : order) || a.order - b.order;
  };
}

function passes(row) {
  for (const filter of FILTERS) {
    const wanted = state.filters.get(filter.key);
    if (wanted === undefined) continue;
    const test = filter.tests ? filter.tests.get(wanted)?.[1] : (one) => filter.value(one) === wanted;
    if (test && !test(row)) return false;
  }
  return true;
}

let deepFound = null; // rows whose conversation holds the query, once known

function matches(row) {
  const query = state.query.trim().toLowerCase();
  return !query || row.sought.includes(query) || (state.deep && deepFound !== null && deepFound.has(row));
}

// The rows that the list shows, in order.
function chosenRows() {
  const [, of] = SORTS.get(state.sort) ?? SORTS.get("order");
  return rows.filter((row) => passes(row) && matches(row)).sort(compareBy(of, state.down));
}

function chosenPairs(pairs) {
  const [, of] = PAIR_SORTS.get(state.sort) ?? PAIR_SORTS.get("order");
  const wanted = PAIR_FILTER.tests.get(state.filters.get("outcome"));
  const type = state.filters.get("type");
  return pairs
    .filter(
      (pair) =>
        pair.rows.some(matches) && (!wanted || wanted[1](pair.rows)) && (type === undefined || pair.rows[0].type === type),
    )
    .sort(compareBy(of, state.down));
}

// The address.

function encoded(text) {
  return encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%20", "+");
}

function address() {
  const parts = [];
  const say = (key, value) => parts.push(`${key}=${encoded(String(value))}`);
  const open = state.open;
  if (state.pairs) {
    say("compare", state.sides.map((run) => run + 1).join(","));
    if (open) say("task", open.rows[0].task);
    if (open?.turn) say("again", open.turn);
  } else if (open) {
    const episode = open.episode === null ? null : String(open.episode);
    const run = index.runs.length > 1 ? index.runs[open.run] : null;
    say("task", open.task);
    if (episode !== null) say("episode", episode);
    if (run !== null) say("in", run);
    // Episodes without a number, or of files that were joined, may share all of that.
    const again = namedRows(open.task, episode, run).indexOf(open);
    if (again > 0) say("again", again);
  }
  if (open && state.tab !== "conversation") say("tab", state.tab);
  if (open && state.turn !== null) say("step", state.turn);
  if (state.query) say("q", state.query);
  if (state.deep) say("deep", 1);
  for (const [key, value] of state.filters) say(key, value);
  if (state.sort !== "order" || state.down) say("sort", (state.down ? "-" : "") + state.sort);
  return parts.length ? `#${parts.join("&")}` : "#";
}

// Take up what an address says; what is wrong in it is left out.
function readAddress(hash) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const sides = asked.get("compare")?.split(",").map((number) => Number(number) - 1) ?? [];
  state.pairs = sides.length === 2 && sides[0] !== sides[1] && sides.every((run) => run in index.runs);
  if (state.pairs) state.sides = sides;
  state.query = asked.get("q") ?? "";
  state.deep = asked.get("deep") === "1";
  state.filters = new Map();
  for (const filter of state.pairs ? [PAIR_FILTER, FILTERS[2]] : FILTERS) {
    const value = asked.get(filter.key);
    if (value !== null && choices(filter).some(([known]) => known === value)) state.filters.set(filter.key, value);
  }
  const sort = asked.get("sort") ?? "order";
  state.down = sort.startsWith("-");
  state.sort = (state.pairs ? PAIR_SORTS : SORTS).has(sort.replace(/^-/, "")) ? sort.replace(/^-/, "") : "order";
  state.tab = ["tokens", "record"].includes(asked.get("tab")) ? asked.get("tab") : "conversation";
  state.turn = asked.has("step") ? Number(asked.get("step")) || null : null;
  state.open = state.pairs ? askedPair(asked) : askedRow(asked);
  const wanted = ["task", "episode", "in"].filter((key) => asked.has(key)).map((key) => `${key} ${asked.get(key)}`);
  state.missing = wanted.length && !state.open ? wanted.join(", ") : null;
  state.asked = state.missing === null ? null : asked;
}

function askedRow(asked) {
  if (!asked.has("task") && !asked.has("episode")) return null;
  return namedRows(asked.get("task"), asked.get("episode"), asked.get("in"))[Number(asked.get("again") ?? 0)] ?? null;
}

// The rows that an address means by these names, in order; null stands for any.
function namedRows(task, episode, run) {
  return rows.filter(
    (row) =>
      (task === null || row.task === task) &&
      (episode === null || String(row.episode) === episode) &&
      (run === null || index.runs[row.run] === run),
  );
}

function askedPair(asked) {
  const again = Number(asked.get("again") ?? 0);
  return pairsOf(...state.sides).find((pair) => pair.rows[0].task === asked.get("task") && pair.turn === again) ?? null;
}
