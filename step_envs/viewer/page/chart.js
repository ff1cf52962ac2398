// Score, rewards and values along an episode, drawn as lines, bars and marks. The same figures stand beside the replies.

const CHART = { left: 34, right: 10, top: 14, bottom: 22 };

// `width` is about that of the place it is put in, so that its letters have their size.
function scoreChart(steps, width, onpick, startValue = null) {
  const { left, right, top, bottom } = CHART;
  const height = 128;
  const scores = [];
  let score = steps[0] ? (steps[0].turn.score ?? 0) - (steps[0].turn.reward ?? 0) : 0;
  const start = score;
  for (const { turn } of steps) {
    score = turn.score ?? score;
    scores.push(score);
  }
  const low = Math.min(0, start, ...scores);
  const high = Math.max(1, ...scores);
  const x = (at) => left + ((at + 0.5) * (width - left - right)) / Math.max(steps.length, 1);
  const y = (value) => top + ((high - value) * (height - top - bottom)) / (high - low);
  const picture = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img" });
  picture.setAttribute("aria-label", chartWords(steps, scores, startValue));
  for (const value of new Set([low, 0, 1, high])) {
    const label = svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" });
    label.textContent = Number(value.toFixed(2));
    picture.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }), label);
  }
  const every = Math.max(1, Math.ceil(steps.length / (width / 60)));
  const slot = (width - left - right) / Math.max(steps.length, 1);
  steps.forEach(({ turn, number }, at) => {
    if (number === 1 || number % every === 0) {
      const label = svg("text", { x: x(at), y: height - 6, "text-anchor": "middle" });
      label.textContent = number;
      picture.append(label);
    }
    const reward = turn.reward ?? 0;
    if (reward) {
      const from = y(scores[at] - reward);
      const to = y(scores[at]);
      const bar = { x: x(at) - Math.min(slot * 0.35, 7), width: Math.min(slot * 0.7, 14), rx: 1.5 };
      const place = { y: Math.min(from, to), height: Math.max(Math.abs(from - to), 1.5) };
      picture.append(svg("rect", { class: reward > 0 ? "gain" : "loss", ...bar, ...place }));
    }
  });
  let path = `M${left} ${y(start)}`;
  scores.forEach((value, at) => (path += `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`));
  picture.append(svg("path", { class: "score-line", d: `${path}H${width - right}` }));
  const valued = steps.some(({ turn }) => isKnown(turn.value));
  if (valued) picture.append(svg("path", { class: "value-line", d: valuePath(steps, startValue, left, x, y) }));
  steps.forEach(({ turn, number }, at) => {
    const sign = chartMark(turn, x(at), y(scores[at]));
    if (sign) picture.append(sign);
    const hit = svg("rect", { class: "hit", x: x(at) - slot / 2, y: 0, width: slot, height });
    const title = svg("title");
    title.textContent = `Step ${number}: ${shown(turn.action ?? "no action")} - score ${fixed(scores[at])}${isKnown(turn.value) ? `, value ${fixed(turn.value)}` : ""}`;
    hit.append(title);
    hit.addEventListener("click", () => onpick(number));
    picture.append(hit);
  });
  return picture;
}

function isKnown(value) {
  return value !== null && value !== undefined;
}

// What the states are worth, from the start on; the line is broken where nothing is known.
function valuePath(steps, startValue, left, x, y) {
  const points = [[left, startValue], ...steps.map(({ turn }, at) => [x(at), turn.value])];
  let path = "";
  let before = false;
  for (const [place, value] of points) {
    if (isKnown(value)) path += `${before ? "L" : "M"}${place.toFixed(1)} ${y(value).toFixed(1)}`;
    before = isKnown(value);
  }
  return path;
}

function chartMark(turn, x, y) {
  if (turn.kind === "error") return svg("path", { class: "mark error", d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` });
  if (turn.kind === "correction") return svg("circle", { class: "mark correction", cx: x, cy: y, r: 4 });
  if (turn.verdict?.status === "unknown") {
    return svg("path", { class: "mark unknown", d: `M${x} ${y - 5}l5 5l-5 5l-5 -5z` });
  }
  return null;
}

function chartWords(steps, scores, startValue) {
  const wrong = steps.filter(({ turn }) => turn.kind === "error").map(({ number }) => number);
  const gains = steps.filter(({ turn }) => turn.reward).map(({ number, turn }) => `${signed(turn.reward)} at step ${number}`);
  const parts = [`Score over ${count(steps.length, "reply", "replies")}, at the end ${fixed(scores.at(-1) ?? 0)}`];
  if (gains.length) parts.push(`rewards ${gains.join(", ")}`);
  const values = [startValue, ...steps.map(({ turn }) => turn.value)].filter(isKnown);
  if (values.length) parts.push(`values from ${fixed(values[0])} to ${fixed(values.at(-1))}`);
  if (wrong.length) parts.push(`errors at step ${wrong.join(", ")}`);
  return `${parts.join("; ")}.`;
}

function chartLegend(valued) {
  const item = (kind, words) => {
    const sample = svg("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" });
    if (kind === "line") sample.append(svg("path", { class: "score-line", d: "M1 9H8V3H15" }));
    else if (kind === "value") sample.append(svg("path", { class: "value-line", d: "M1 9L8 6L15 3" }));
    else if (kind === "gain") sample.append(svg("rect", { class: "gain", x: 4, y: 2, width: 8, height: 9, rx: 1.5 }));
    else sample.append(chartMark(kind, 8, 6));
    return el("li", {}, sample, words);
  };
  return el(
    "ul",
    { class: "legend" },
    item("line", "score"),
    item("gain", "reward"),
    ...(valued ? [item("value", "value")] : []),
    item({ kind: "error" }, "error"),
    item({ kind: "correction" }, "correction"),
    item({ kind: "agent", verdict: { status: "unknown" } }, "unknown verdict"),
  );
}
