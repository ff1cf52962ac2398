// One episode as the conversation it is: what was wrong struck through, the teacher's words beside it, weights at the edge.

const KINDS = new Map([
  ["agent", ["", "agent"]],
  ["error", ["cross", "error"]],
  ["correction", ["check", "correction"]],
  ["expert", ["", "expert"]],
]);

// The beginning of a conversation: manual folded away, task open.
function openingOf({ opening, task, answers }, sought) {
  const parts = [];
  if (opening.length) {
    const manual = el("details", { class: "manual" }, el("summary", { text: "Manual: how to act in this world" }));
    for (const turn of opening) manual.append(el("p", { class: "speaker", text: turn.role }), words(turn.content, sought));
    parts.push(manual);
  }
  if (task) {
    const said = el("div", { class: "bubble world task" });
    said.append(el("p", { class: "speaker", text: "task" }), words(task.content, sought));
    parts.push(said);
  }
  for (const turn of answers) parts.push(answer(turn, sought));
  return parts;
}

function words(text, sought) {
  const node = el("div", { class: "words data" });
  put(node, text, sought);
  return node;
}

function answer(turn, sought) {
  const said = el("div", { class: "bubble world" });
  const text = turn.content.replace(/^Observation:[ \n]?/, "");
  said.append(el("p", { class: "speaker", text: "world" }), words(text, sought));
  const lines = text.split("\n").length;
  if ((lines > LONG_LINES || text.length > LONG_TEXT) && !(sought && text.toLowerCase().includes(sought))) fold(said, lines);
  return said;
}

const LONG_LINES = 14;
const LONG_TEXT = 1200;

// Show the beginning of what is long; the rest on demand.
function fold(said, lines) {
  const name = lines > LONG_LINES ? `Show all ${lines} lines` : "Show all";
  const more = el("button", { type: "button", class: "link more", "aria-expanded": "false", text: name });
  more.addEventListener("click", () => {
    const folded = said.classList.toggle("folded");
    more.setAttribute("aria-expanded", String(!folded));
    more.textContent = folded ? name : "Show less";
  });
  said.classList.add("folded");
  said.append(more);
}

// One step: the reply, what stands beside it, and what the world answered.
function stepOf(step, { sought = "", id = "", tag = "li" } = {}) {
  const { turn, number } = step;
  const node = el("section", { class: `step ${turn.kind}`, tabindex: "-1", "aria-label": stepLabel(step) });
  if (id) node.id = id;
  const side = el("div", { class: "beside" }, margin(turn), remarkOf(turn));
  node.append(el("span", { class: "number", "aria-hidden": true, text: number }), reply(turn, sought), side);
  if (step.answers.length) node.append(el("div", { class: "below" }, step.answers.map((one) => answer(one, sought))));
  return tag ? el(tag, {}, node) : node;
}

function stepLabel({ turn, number }) {
  const kind = KINDS.get(turn.kind)?.[1] ?? turn.kind;
  const verdict = turn.verdict && turn.kind !== "error" ? `, verdict ${turn.verdict.status}` : "";
  return `Step ${number}, ${kind}${verdict}, loss weight ${turn.loss ?? 0}`;
}

function reply(turn, sought) {
  const [picture, name] = KINDS.get(turn.kind) ?? ["", turn.kind];
  const weight = turn.loss ?? 0;
  const said = el("div", { class: `bubble reply${weight > 0 ? " trained" : ""}` });
  said.style.setProperty("--weight", weight);
  said.append(el("p", { class: "speaker" }, picture ? labelled(picture, name) : name));
  // Struck through for the eye, and deleted for who cannot see it.
  const body = el(turn.kind === "error" ? "del" : "div", { class: "words data" });
  const action = Math.max(...["\nAction:", "\n<action>", "\n<tool_call>"].map((mark) => turn.content.lastIndexOf(mark)));
  put(body, action < 0 ? turn.content : turn.content.slice(0, action), sought);
  if (action >= 0) {
    const done = el("span", { class: "action" });
    put(done, turn.content.slice(action + 1), sought);
    body.append(done);
  }
  said.append(body);
  if (turn.shortened) {
    said.append(el("p", { class: "aside", text: `Its writer saw ${count(turn.shortened, "earlier observation")} only shortened.` }));
  }
  return said;
}

const VERDICTS = new Map([
  ["ok", ["check", "good", "verdict ok"]],
  ["error", ["cross", "bad", "verdict error"]],
  ["unknown", ["question", "warn", "verdict unknown"]],
]);

function margin(turn) {
  const weight = turn.loss ?? 0;
  const node = el("div", { class: "margin" });
  const meter = el("span", { class: "meter", "aria-hidden": true });
  meter.style.setProperty("--weight", weight);
  node.append(el("span", { class: weight > 0 ? "weight trained" : "weight" }, meter, `loss ${Number(weight.toFixed(3))}`));
  if (turn.score !== undefined && turn.score !== null) {
    const change = turn.reward ? el("b", { class: turn.reward > 0 ? "gain" : "drop", text: ` ${signed(turn.reward)}` }) : "";
    node.append(el("span", { class: "score" }, `score ${fixed(turn.score)}`, change));
  }
  if (isKnown(turn.value)) {
    const bar = el("span", { class: "meter", "aria-hidden": true });
    bar.style.setProperty("--weight", turn.value);
    node.append(el("span", { class: "score value", title: "What the state after this step is worth" }, bar, `value ${fixed(turn.value)}`));
  }
  // With more to say than that it was fine, the verdict is at the head of the remark.
  if (turn.verdict?.status === "ok") {
    const [picture, tone, name] = VERDICTS.get(turn.verdict.status);
    node.append(el("span", { class: `chip ${tone}` }, labelled(picture, name)));
  }
  return node;
}

// What the teacher said of a reply, part by part; nothing where it was fine.
function remarkOf(turn) {
  const verdict = turn.verdict;
  if (!verdict || verdict.status === "ok") return null;
  const parts = [
    ["What was wrong", verdict.error],
    [verdict.status === "unknown" ? "Why there is no verdict" : "Why", verdict.reason],
    ["Instead", verdict.reflection],
  ];
  const said = el("dl");
  for (const [name, text] of parts) if (text) said.append(el("dt", { text: name }), el("dd", { data: text }));
  if (verdict.corrected_action) {
    said.append(el("dt", { text: "Corrected action" }), el("dd", {}, el("code", { data: verdict.corrected_action })));
  }
  if (verdict.category) said.append(el("dt", { text: "Category" }), el("dd", { text: verdict.category }));
  if (verdict.undo) said.append(el("dt", { text: "State" }), el("dd", { text: "Set back to before this step." }));
  const [picture, tone, name] = VERDICTS.get(verdict.status);
  const title = el("p", { class: "speaker" }, labelled(picture, `teacher: ${name}`));
  return el("div", { class: `remark ${tone}`, role: "note" }, title, said);
}

// All that is recorded of an episode besides its turns.
function recordTable(record) {
  const { turns, ...rest } = record;
  const body = el("tbody");
  const add = (name, value) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) add(name ? `${name}.${key}` : key, inner);
    } else {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      body.append(el("tr", {}, el("th", { scope: "row", data: name }), el("td", { data: text })));
    }
  };
  add("", rest);
  add("turns", turns.length);
  return el("table", { class: "record" }, body);
}
