// The figures of what the list shows; a click on a line of them filters the list.

const FEW = 10; // below, an interval says little

function overview(chosen, onfilter) {
  const all = chosen.length === rows.length;
  const node = el("div", { class: "overview" });
  node.append(
    el("h2", { tabindex: "-1", text: "Overview" }),
    el("p", {
      class: "lead",
      text: all ? `All ${count(rows.length, "episode")}.` : `${chosen.length.toLocaleString("en")} of ${count(rows.length, "episode")}, as filtered.`,
    }),
  );
  if (chosen.length) node.append(cards(chosen));
  if (index.failures?.length) node.append(failureList(index.failures));
  if (!chosen.length) return node;
  if (index.runs.length > 1) node.append(groupTable("By run", "run", chosen, onfilter));
  if (new Set(chosen.map((row) => row.env)).size > 1) node.append(groupTable("By environment", "env", chosen, onfilter));
  node.append(groupTable("By task type", "type", chosen, onfilter));
  const errors = errorChart(chosen);
  node.append(el("div", { class: "halves" }, endings(chosen, onfilter), errors));
  return node;
}

// Episodes without a trajectory, by reason: they are in no other figure.
function failureList(groups) {
  const items = el("ul", { class: "failures" });
  for (const group of groups) {
    const run = index.runs.length > 1 ? `${index.runs[group.run]}, ` : "";
    const example = `${group.episodes > 1 ? "For example " : ""}${run}episode ${group.episode ?? "-"}, task ${group.task}. `;
    items.append(
      el(
        "li",
        {},
        el("span", { class: "figure", text: group.episodes.toLocaleString("en") }),
        el("div", {}, el("p", { data: group.reason }), el("p", { class: "aside" }, el("bdi", { data: example }), group.advice)),
      ),
    );
  }
  const number = groups.reduce((sum, group) => sum + group.episodes, 0);
  return el("section", { class: "block failed" }, el("h3", { text: `${count(number, "episode")} without a trajectory` }), items);
}

function total(chosen, of) {
  return chosen.reduce((sum, row) => sum + of(row), 0);
}

function cards(chosen) {
  const n = chosen.length;
  const successes = total(chosen, (row) => row.success);
  const [low, high] = wilson(successes, n);
  const errors = total(chosen, (row) => row.errors);
  const corrected = total(chosen, (row) => row.corrections);
  const wrong = chosen.filter((row) => row.errors > 0);
  const recovered = total(wrong, (row) => row.success);
  const unknown = total(chosen, (row) => row.unknown);
  const tokens = total(chosen, (row) => row.tokens);
  const list = el("dl", { class: "cards" });
  const card = (name, value, more) =>
    list.append(el("div", { class: "card" }, el("dt", { text: name }), el("dd", { class: "big", text: value }), el("dd", { class: "small", text: more })));
  card("Success", percent(successes / n), `${successes.toLocaleString("en")} of ${n.toLocaleString("en")}, 95\u00a0% interval ${percent(low)} to ${percent(high)}`);
  card("Average score", fixed(total(chosen, (row) => row.score) / n), `over ${count(total(chosen, (row) => row.steps), "step")}`);
  card("Errors", errors.toLocaleString("en"), `${fixed(errors / n)} an episode, ${corrected.toLocaleString("en")} corrected`);
  card(
    "Recovery",
    wrong.length ? percent(recovered / wrong.length) : "-",
    wrong.length ? `${recovered.toLocaleString("en")} of ${count(wrong.length, "episode")} with errors succeed` : "no episode has an error",
  );
  card("Unknown verdicts", unknown.toLocaleString("en"), `in ${count(chosen.filter((row) => row.unknown).length, "episode")}`);
  if (tokens) {
    const cost = total(chosen, (row) => row.cost ?? 0);
    card("Tokens", tokens.toLocaleString("en", { notation: "compact" }), cost ? `$${cost.toFixed(2)}` : "no price known");
  }
  return list;
}

function groupTable(title, key, chosen, onfilter) {
  const filter = FILTERS.find((one) => one.key === key);
  const groups = new Map();
  for (const row of chosen) {
    const name = filter.value(row);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  const body = el("tbody");
  for (const [name, group] of [...groups].sort(([a], [b]) => compareText(a, b))) {
    const successes = total(group, (row) => row.success);
    const link = el("button", { type: "button", class: "link", data: name, onclick: () => onfilter(key, name) });
    body.append(
      el(
        "tr",
        {},
        el("th", { scope: "row" }, link),
        el("td", { class: "figure", text: group.length }),
        el("td", {}, shareBar(successes, group.length)),
        el("td", { class: "figure", text: fixed(total(group, (row) => row.score) / group.length) }),
        el("td", { class: "figure", text: fixed(total(group, (row) => row.errors) / group.length) }),
      ),
    );
  }
  const head = ["", "Episodes", "Success", "Score", "Errors an episode"].map((text, at) =>
    text ? el("th", { scope: "col", class: at === 2 ? "" : "figure", text }) : el("td"),
  );
  const small = [...groups.values()].some((group) => group.length < FEW);
  return el(
    "section",
    { class: "block" },
    el("h3", { text: title }),
    el("div", { class: "scroll-x" }, el("table", { class: "groups" }, el("thead", {}, el("tr", {}, head)), body)),
    small && el("p", { class: "aside", text: `Thin lines are 95 % intervals; of fewer than ${FEW} episodes a rate says little.` }),
  );
}

function shareBar(hits, of) {
  const [low, high] = wilson(hits, of);
  const bar = svg("svg", { class: "share", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(
    svg("rect", { class: "track", x: 0, y: 2, width: 100, height: 8 }),
    svg("rect", { class: "fill", x: 0, y: 2, width: (100 * hits) / of, height: 8 }),
    svg("rect", { class: "range", x: 100 * low, y: 5.25, width: 100 * (high - low), height: 1.5 }),
  );
  const title = `${hits} of ${of}, 95\u00a0% interval ${percent(low)} to ${percent(high)}`;
  return el("span", { class: `share-cell${of < FEW ? " few" : ""}`, title }, el("span", { class: "share-number", text: percent(hits / of) }), bar);
}

function endings(chosen, onfilter) {
  const counts = new Map();
  for (const row of chosen) {
    const key = row.success ? "success" : row.stop;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const items = el("ul", { class: "endings" });
  for (const [key, number] of [...counts].sort((a, b) => b[1] - a[1])) {
    const row = chosen.find((one) => (one.success ? "success" : one.stop) === key);
    const bar = el("span", { class: "bar" });
    bar.style.setProperty("--share", number / chosen.length);
    bar.classList.add(outcome(row).tone);
    const open = el("button", { type: "button", class: "link", onclick: () => onfilter("outcome", key) }, badge(row));
    items.append(el("li", {}, open, el("span", { class: "figure", text: number }), bar));
  }
  return el("section", { class: "block" }, el("h3", { text: "How episodes ended" }), items);
}

function errorChart(chosen) {
  const replies = [];
  const errors = [];
  for (const row of chosen) {
    [...row.strip].forEach((mark, at) => {
      replies[at] = (replies[at] ?? 0) + 1;
      errors[at] = (errors[at] ?? 0) + (mark === "x");
    });
  }
  const section = el("section", { class: "block" }, el("h3", { text: "Errors by step" }));
  const steps = errors.length;
  const most = Math.max(0, ...errors);
  if (!most) {
    section.append(el("p", { class: "aside", text: "No reply was judged wrong." }));
    return section;
  }
  const [width, height] = [360, 120];
  const picture = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height + 20}`, role: "img" });
  const peak = errors.indexOf(most) + 1;
  picture.setAttribute("aria-label", `Errors by step of the episode, ${total(chosen, (row) => row.errors)} in all; most, ${most}, at step ${peak}.`);
  const slot = (width - 30) / steps;
  const every = Math.max(1, Math.ceil(steps / 8));
  errors.forEach((number, at) => {
    const bar = { x: 30 + at * slot + slot * 0.1, width: slot * 0.8, y: height - (number * (height - 14)) / most };
    const rect = svg("rect", { class: "error-bar", ...bar, height: (number * (height - 14)) / most });
    const title = svg("title");
    title.textContent = `Step ${at + 1}: ${count(number, "error")} in ${count(replies[at], "reply", "replies")}`;
    rect.append(title);
    picture.append(rect);
    if (at % every === 0) {
      const label = svg("text", { x: 30 + (at + 0.5) * slot, y: height + 15, "text-anchor": "middle" });
      label.textContent = at + 1;
      picture.append(label);
    }
  });
  for (const value of [0, most]) {
    const label = svg("text", { x: 24, y: height - (value * (height - 14)) / most + 4, "text-anchor": "end" });
    label.textContent = value;
    picture.append(label);
  }
  picture.append(svg("line", { class: "grid", x1: 30, x2: width, y1: height, y2: height }));
  section.append(picture);
  return section;
}

// What two runs did on the same tasks.
function pairOverview(pairs, onfilter) {
  const node = el("div", { class: "overview" });
  const [left, right] = state.sides.map((run) => index.runs[run]);
  node.append(
    el("h2", { tabindex: "-1", text: "Side by side" }),
    el("p", { class: "lead" }, el("span", { class: "side-name", text: "A" }), el("bdi", { data: left }), " and ", el("span", { class: "side-name", text: "B" }), el("bdi", { data: right }), `: ${count(pairs.length, "pair")} of episodes on the same task.`),
  );
  if (!pairs.length) return node;
  const items = el("ul", { class: "endings" });
  for (const [key, [name, test]] of PAIR_FILTER.tests) {
    const number = pairs.filter((pair) => test(pair.rows)).length;
    const bar = el("span", { class: "bar" });
    bar.style.setProperty("--share", number / pairs.length);
    const open = el("button", { type: "button", class: "link", text: name, onclick: () => onfilter("outcome", key) });
    items.append(el("li", {}, open, el("span", { class: "figure", text: number }), bar));
  }
  const difference = total(pairs, ({ rows: [a, b] }) => b.score - a.score) / pairs.length;
  node.append(
    el("section", { class: "block" }, el("h3", { text: "Outcomes" }), items),
    el("p", {}, `On average B scores ${signed(difference)} against A. Whether that is more than chance, `, el("code", { text: "step-envs report" }), " works out."),
  );
  return node;
}
