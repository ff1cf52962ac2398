// Two runs on the same task, step beside step.

function compareView(pair, records, sought) {
  const sides = records.map(stepsOf);
  const parting = partingOf(sides);
  const node = el("div", { class: "compare" });
  const heads = pair.rows.map((row, side) =>
    el(
      "div",
      { class: "compare-head" },
      el("h3", {}, el("span", { class: "side-name", text: "AB"[side] }), el("span", { data: index.runs[row.run] })),
      el("p", { class: "compare-facts" }, badge(row), `score ${fixed(row.score)} \u00b7 ${count(row.steps, "step")} \u00b7 ${count(row.errors, "error")}`),
      scoreChart(sides[side].steps, narrow.matches ? 340 : 420, (number) => goToStep(number)),
    ),
  );
  node.append(el("div", { class: "compare-row heads" }, heads));
  node.append(el("div", { class: "compare-opening" }, openingOf(sides[0], sought)));
  const length = Math.max(...sides.map(({ steps }) => steps.length));
  const body = el("ol", { class: "compare-steps" });
  for (let at = 0; at < length; at += 1) {
    const line = el("li", { class: "compare-row", id: `step-${at + 1}`, tabindex: "-1" });
    if (at === parting) line.classList.add("parting");
    sides.forEach(({ steps }, side) => {
      const step = steps[at];
      const label = el("span", { class: "side-name small", text: "AB"[side] });
      line.append(
        step
          ? el("div", { class: "cell" }, label, stepOf(step, { sought, tag: "" }))
          : el("div", { class: "cell over" }, label, el("p", { class: "aside", text: "This episode has ended." })),
      );
    });
    if (at === parting) line.prepend(el("p", { class: "parting-note", text: partingWords(parting) }));
    body.append(line);
  }
  node.append(body);
  return node;
}

// The first step at which the two do not do the same, or null.
function partingOf(sides) {
  const [a, b] = sides.map(({ steps }) => steps.map(({ turn }) => turn.action ?? turn.content));
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) if (a[at] !== b[at]) return at;
  return null;
}

function partingWords(at) {
  if (at === 0) return "The two act differently from the first step.";
  return `Alike for ${count(at, "step")}; from here on the two act differently.`;
}
