// The list: only the rows in sight are in the document, however many there are.

const ROW_HEIGHT = 70;
const MARGIN = 6; // rows drawn beyond either edge

const list = {
  box: document.getElementById("list"),
  inner: document.getElementById("rows"),
  items: [],
  at: -1, // the item that is chosen
  drawn: new Map(),
  draw: rowCard,
  onchoose: () => {},
};

// With `same`, which tells whether two items are one, what the reader sees stays where it is, whatever comes before it.
function setItems(items, draw, chosen, same = null) {
  const top = Math.floor(list.box.scrollTop / ROW_HEIGHT);
  const [seen, rest] = [list.items[top], list.box.scrollTop - top * ROW_HEIGHT];
  list.items = items;
  list.draw = draw;
  list.at = chosen === null ? -1 : items.indexOf(chosen);
  list.inner.style.height = `${items.length * ROW_HEIGHT}px`;
  for (const node of list.drawn.values()) node.remove();
  list.drawn.clear();
  if (same) {
    const now = seen === undefined ? -1 : items.findIndex((item) => same(item, seen));
    // Whoever stands at the top with nothing open wants to see what comes there.
    if (now >= 0 && (top + rest > 0 || list.at >= 0)) list.box.scrollTop = now * ROW_HEIGHT + rest;
  } else if (list.at >= 0) reveal();
  else list.box.scrollTop = 0;
  drawRows();
}

function drawRows() {
  const first = Math.max(0, Math.floor(list.box.scrollTop / ROW_HEIGHT) - MARGIN);
  const last = Math.min(list.items.length, Math.ceil((list.box.scrollTop + list.box.clientHeight) / ROW_HEIGHT) + MARGIN);
  for (const [at, node] of list.drawn) {
    if ((at < first || at >= last) && at !== list.at) {
      node.remove();
      list.drawn.delete(at);
    }
  }
  for (let at = first; at < last; at += 1) drawRow(at);
  // The chosen row stays in the document, for screen readers are told of it by its id.
  if (list.at >= 0) drawRow(list.at);
  if (list.at >= 0) list.box.setAttribute("aria-activedescendant", `row-${list.at}`);
  else list.box.removeAttribute("aria-activedescendant");
}

function drawRow(at) {
  if (list.drawn.has(at)) return;
  const node = list.draw(list.items[at]);
  node.id = `row-${at}`;
  node.style.transform = `translateY(${at * ROW_HEIGHT}px)`;
  node.setAttribute("role", "option");
  node.setAttribute("aria-posinset", at + 1);
  node.setAttribute("aria-setsize", list.items.length);
  node.setAttribute("aria-selected", at === list.at);
  node.addEventListener("click", () => choose(at, true));
  list.drawn.set(at, node);
  // In order, for those who read the document and not the screen.
  let after = null;
  for (const [other, there] of list.drawn) {
    if (other > at && (after === null || other < after[0])) after = [other, there];
  }
  list.inner.insertBefore(node, after === null ? null : after[1]);
}

function mark(at) {
  const before = list.at;
  list.at = at;
  list.drawn.get(before)?.setAttribute("aria-selected", "false");
  drawRows();
  list.drawn.get(at)?.setAttribute("aria-selected", "true");
}

function choose(at, enter = false) {
  if (at < 0 || at >= list.items.length) return;
  mark(at);
  reveal();
  list.onchoose(list.items[at], enter);
}

function reveal() {
  const top = list.at * ROW_HEIGHT;
  const { scrollTop, clientHeight } = list.box;
  if (top < scrollTop) list.box.scrollTop = top;
  else if (top + ROW_HEIGHT > scrollTop + clientHeight) list.box.scrollTop = top + ROW_HEIGHT - clientHeight;
}

function move(by) {
  const last = list.items.length - 1;
  if (last >= 0) choose(Math.max(0, Math.min(last, list.at < 0 ? (by > 0 ? 0 : last) : list.at + by)));
}

function pageSize() {
  return Math.max(1, Math.floor(list.box.clientHeight / ROW_HEIGHT) - 1);
}

list.box.addEventListener("scroll", drawRows, { passive: true });
new ResizeObserver(drawRows).observe(list.box);

// What a row shows.

function rowCard(row) {
  const { picture, words, tone } = outcome(row);
  const facts = [count(row.steps, "step")];
  if (index.runs.length > 1) facts.unshift(shown(index.runs[row.run]));
  if (row.errors) facts.push(`${count(row.errors, "error")}, ${row.corrections} corrected`);
  if (row.unknown) facts.push(`${row.unknown} unknown`);
  return el(
    "div",
    { class: "row" },
    el("span", { class: `dot ${tone}` }, icon(picture), el("span", { class: "hidden", text: words })),
    rowTitle(row.task),
    el("span", { class: "row-score" }, el("span", { class: "hidden", text: "score " }), fixed(row.score)),
    el("span", { class: "row-sub", data: excerpt(row) }),
    strip(row.strip),
    el("span", { class: "row-facts", text: facts.join(" \u00b7 ") }),
  );
}

// A task's name; where it does not fit, its last part, which tells tasks apart, stays.
function rowTitle(task, more = "") {
  const cut = task.lastIndexOf("/");
  const node = el("span", { class: "row-title", title: shown(task) }, el("bdi", { data: cut > 0 ? task.slice(0, cut) : task }));
  if (cut > 0 || more) node.append(el("bdi", { data: (cut > 0 ? task.slice(cut) : "") + more }));
  return node;
}

// The task in words, without a heading on a line of its own.
function excerpt(row) {
  return row.instruction.replace(/^[\w ]+:\n/, "");
}

function pairCard(pair) {
  const sides = pair.rows.map((row, side) => {
    const { picture, words, tone } = outcome(row);
    return el(
      "span",
      { class: "side" },
      el("span", { class: "side-name", text: "AB"[side] }),
      el("span", { class: `dot ${tone}` }, icon(picture)),
      el("span", { text: `${words} ${fixed(row.score)}` }),
    );
  });
  const [a, b] = pair.rows;
  const again = pair.turn ? ` (${pair.turn + 1})` : "";
  return el(
    "div",
    { class: `row pair-row${a.success === b.success ? "" : " apart"}` },
    rowTitle(a.task, again),
    el("span", { class: "row-score", text: b.score === a.score ? "same" : signed(b.score - a.score) }),
    el("span", { class: "row-sub", data: excerpt(a) }),
    el("span", { class: "sides" }, sides),
  );
}

const MARKS = new Map([
  ["a", "--strip-agent"],
  ["e", "--strip-agent"],
  ["u", "--strip-unknown"],
  ["x", "--strip-error"],
  ["c", "--strip-correction"],
]);

// The replies of an episode as a row of cells; what it says is in words beside it.
function strip(marks) {
  const node = el("span", { class: "strip", "aria-hidden": true });
  const size = 100 / Math.max(marks.length, 1);
  const stops = [];
  for (let from = 0; from < marks.length; ) {
    let to = from;
    while (to < marks.length && marks[to] === marks[from]) to += 1;
    stops.push(`var(${MARKS.get(marks[from])}) ${from * size}% ${to * size}%`);
    from = to;
  }
  node.style.setProperty("--cells", marks.length);
  if (stops.length) node.style.backgroundImage = `linear-gradient(90deg, ${stops.join(", ")})`;
  return node;
}
