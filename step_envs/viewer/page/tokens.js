// The tokens that training sees, in the colours of their weights: the mask, made visible.

function tokenView(windows) {
  const node = el("div", { class: "token-view" });
  node.append(tokenLegend());
  if (!windows.length) node.append(el("p", { text: "Nothing in this episode is trained on, so training makes no sample of it." }));
  windows.forEach(({ words: texts, weights }, number) => {
    const trained = weights.reduce((sum, [length, weight]) => sum + (weight > 0 ? length : 0), 0);
    const share = texts.length ? ` (${percent(trained / texts.length)})` : "";
    const title = windows.length > 1 ? `Sample ${number + 1} of ${windows.length}: ` : "";
    node.append(
      el("p", { class: "token-facts", text: `${title}${count(texts.length, "token")}, ${trained.toLocaleString("en")} trained${share}` }),
      tokenText(texts, weights),
    );
  });
  return node;
}

function tokenText(texts, weights) {
  const node = el("div", { class: "tokens data" });
  let at = 0;
  for (const [length, weight] of weights) {
    const run = el("span", { class: weight > 0 ? "run trained" : "run" });
    run.style.setProperty("--weight", weight);
    if (weight > 0) run.append(el("span", { class: "hidden", text: `[weight ${weight}: ` }));
    for (const text of texts.slice(at, at + length)) {
      const token = el("span", { class: "token" });
      // A line break ends the line, and is still seen to be a token.
      put(token, text.replaceAll("\n", "\u21b5\n").replaceAll("\t", "\u21e5"));
      run.append(token);
    }
    if (weight > 0) run.append(el("span", { class: "hidden", text: "]" }));
    node.append(run);
    at += length;
  }
  return node;
}

function tokenLegend() {
  const about = el("p", { class: "aside" });
  about.append("Tokenizer ", el("code", { data: index.tokenizer.name }), ". Filled: its weight enters the loss. Plain: context, weight 0.");
  return about;
}

function noTokens() {
  const { tokenizer } = index;
  const node = el("div", { class: "empty" });
  if (!tokenizer) {
    node.append(el("p", { text: "This file holds no tokens." }), el("p", {}, "Write it again with ", el("code", { text: "step-envs view RUN --tokens TOKENIZER" }), "."));
  } else {
    const held = `The file holds the tokens of ${count(tokenizer.trajectories, "episode")}, and no more, to stay small.`;
    node.append(el("p", { text: held }), el("p", {}, "Write one for this episode alone: ", el("code", { text: "step-envs view RUN --episode N --tokens TOKENIZER --html FILE" }), "."));
  }
  return node;
}
