// Text and elements. Whatever comes from an environment or a model goes through put() or shown(), as text alone: no markup
// in it is followed, and characters that steer a screen or turn the direction of writing are drawn as symbols.

const STEERING =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}\ud800-\udfff]/gu;

function symbol(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}

// A text with its steering characters as symbols: for attributes, titles and what is announced.
function shown(text) {
  return String(text).replaceAll("\r\n", "\n").replace(STEERING, symbol);
}

// Append a text to a node; steering characters stand out, and so does what was searched for.
function put(node, text, sought = "") {
  const clean = String(text).replaceAll("\r\n", "\n");
  let from = 0;
  for (const match of clean.matchAll(STEERING)) {
    plain(node, clean.slice(from, match.index), sought);
    const mark = document.createElement("span");
    mark.className = "control";
    mark.textContent = symbol(match[0]);
    node.append(mark);
    from = match.index + match[0].length;
  }
  plain(node, clean.slice(from), sought);
}

function plain(node, text, sought) {
  if (!text) return;
  const lower = sought ? text.toLowerCase() : "";
  // Some letters change their length in lower case, and places would no longer be the same.
  if (!sought || lower.length !== text.length) {
    node.append(text);
    return;
  }
  let from = 0;
  for (let at = lower.indexOf(sought); at >= 0; at = lower.indexOf(sought, from)) {
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at, at + sought.length);
    node.append(text.slice(from, at), mark);
    from = at + sought.length;
  }
  node.append(text.slice(from));
}

// Make an element. `data` is text from outside, kept apart from the direction of what is around it; `text` is our own.
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "data") {
      node.classList.add("data");
      put(node, value);
    } else if (name === "text") node.textContent = value;
    else if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Pictures that every system draws alike; words beside them say the same.
const ICONS = new Map([
  ["check", "M3.5 8.5l3 3 6-7"],
  ["cross", "M4 4l8 8M12 4l-8 8"],
  ["clock", "M8 4v4.2l2.8 1.8M14.2 8A6.2 6.2 0 1 1 1.8 8a6.2 6.2 0 0 1 12.4 0z"],
  ["alert", "M8 4.6v4M8 11.2v.2M8 1.6l6.6 12H1.4z"],
  ["question", "M5.6 5.8a2.4 2.4 0 1 1 3.5 2.1c-.8.4-1.1.9-1.1 1.7M8 12v.2"],
  ["minus", "M4 8h8"],
  ["left", "M10 3L5 8l5 5"],
  ["right", "M6 3l5 5-5 5"],
  ["up", "M8 13V3.5M4 7l4-4 4 4"],
  ["down", "M8 3v9.5M4 9l4 4 4-4"],
  ["link", "M6.8 9.2a2.6 2.6 0 0 0 3.7 0l2.4-2.4a2.6 2.6 0 0 0-3.7-3.7l-.9.9M9.2 6.8a2.6 2.6 0 0 0-3.7 0L3.1 9.2a2.6 2.6 0 0 0 3.7 3.7l.9-.9"],
  ["sun", "M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3.1 3.1l1.1 1.1M11.8 11.8l1.1 1.1M3.1 12.9l1.1-1.1M11.8 4.2l1.1-1.1M11 8a3 3 0 1 1-6 0 3 3 0 0 1 6 0z"],
  ["moon", "M13.5 9.8A6 6 0 0 1 6.2 2.5a6 6 0 1 0 7.3 7.3z"],
  ["screen", "M2 3h12v8H2zM5.5 13.5h5"],
]);

function icon(name) {
  const path = svg("path", { d: ICONS.get(name) });
  return svg("svg", { class: `icon icon-${name}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}

function labelled(name, text) {
  return [icon(name), el("span", { text })];
}

// Numbers and words.

function count(number, noun, plural = `${noun}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;
}

function fixed(number, digits = 2) {
  return number === null || number === undefined ? "-" : number.toFixed(digits);
}

function signed(number) {
  return `${number < 0 ? "\u2212" : "+"}${Math.abs(number).toFixed(2)}`;
}

function percent(share) {
  return `${Math.round(100 * share)}\u00a0%`;
}

// The Wilson score interval at 95 %, as step_envs.statistics works it out.
function wilson(hits, of) {
  const z = 1.959963984540054;
  const share = hits / of;
  const centre = (share + (z * z) / (2 * of)) / (1 + (z * z) / of);
  const half = (z * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of))) / (1 + (z * z) / of);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

const OUTCOMES = new Map([
  ["success", ["check", "success"]],
  ["failure", ["cross", "failure"]],
  ["max_steps", ["clock", "out of steps"]],
  ["max_errors", ["alert", "too many errors"]],
  ["unknown_verdict", ["question", "no verdict"]],
  ["agent_stopped", ["minus", "agent gave up"]],
  ["running", ["minus", "not ended"]],
]);

// How an episode ended: success where the engine said so, else the reason.
function outcome(row) {
  const [picture, words] = OUTCOMES.get(row.success ? "success" : row.stop) ?? ["minus", row.stop];
  return { picture, words, tone: row.success ? "good" : row.stop === "failure" ? "bad" : "warn" };
}

function badge(row) {
  const { picture, words, tone } = outcome(row);
  return el("span", { class: `badge ${tone}` }, labelled(picture, words));
}

let announcing = 0;

// Say something to screen readers, once typing or moving has paused.
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    document.getElementById("live").textContent = text;
  }, 250);
}
