// Colours, keyboard, help.

// Theme: that of the system, or the one chosen here.

const THEMES = ["auto", "light", "dark"];
const THEME_ICONS = { auto: "screen", light: "sun", dark: "moon" };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").replaceChildren(icon(THEME_ICONS[theme]));
  byId("theme").setAttribute("aria-label", `Colours: ${theme === "auto" ? "as the system" : theme}`);
  byId("theme").title = `Colours: ${theme === "auto" ? "as the system" : theme}`;
}

function savedTheme() {
  try {
    const saved = localStorage.getItem("step-envs-theme");
    return THEMES.includes(saved) ? saved : "auto";
  } catch {
    // Some browsers keep nothing for files.
    return "auto";
  }
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  setTheme(theme);
  try {
    localStorage.setItem("step-envs-theme", theme);
  } catch {
    // The choice then holds until the file is closed.
  }
}

// Keyboard.

const KEYS = [
  ["j or \u2193", "next episode"],
  ["k or \u2191", "previous episode"],
  ["Enter", "read the chosen episode"],
  ["n / p", "next or previous error in it; among tokens, next or previous that are trained"],
  ["c, t, r", "conversation, tokens, record"],
  ["Esc", "back to the list; again: the overview"],
  ["/", "search"],
  ["s", "side by side, with two runs"],
  ["?", "this help"],
];

function drawHelp() {
  const keys = el("dl", { class: "keys" });
  for (const [key, text] of KEYS) keys.append(el("div", {}, el("dt", {}, el("kbd", { text: key })), el("dd", { text })));
  const cells = el("ul", { class: "legend cells" });
  for (const [mark, text] of [["a", "agent's step"], ["x", "error: stays in the context, weight 0"], ["c", "correction: trained"], ["u", "step without verdict: not trained"]]) {
    cells.append(el("li", {}, strip(mark), text));
  }
  const close = el("button", { type: "button", text: "Close", onclick: () => byId("help").close() });
  byId("help").replaceChildren(
    el("h2", { id: "help-title", text: "Keyboard and symbols" }),
    keys,
    el("h3", { text: "The strip in the list: one cell a reply" }),
    cells,
    el("p", { class: "aside", text: "A green edge marks what is trained on, its strength the weight. The address in the browser's bar always leads back to what you see." }),
    close,
  );
}

const SHORTCUTS = new Map([
  ["j", () => move(1)],
  ["ArrowDown", () => move(1)],
  ["k", () => move(-1)],
  ["ArrowUp", () => move(-1)],
  ["n", () => goToMark(1)],
  ["p", () => goToMark(-1)],
  ["c", () => !state.pairs && state.open && setTab("conversation")],
  ["t", () => !state.pairs && state.open && setTab("tokens")],
  ["r", () => !state.pairs && state.open && setTab("record")],
  ["s", () => hasPairs && setMode(!state.pairs)],
  ["/", () => (showPane("list"), byId("query").focus(), byId("query").select())],
  ["?", () => byId("help").showModal()],
]);

const IN_LIST = new Map([
  ["Home", () => choose(0)],
  ["End", () => choose(list.items.length - 1)],
  ["PageDown", () => move(pageSize())],
  ["PageUp", () => move(-pageSize())],
  ["Enter", () => choose(Math.max(list.at, 0), true)],
  [" ", () => choose(Math.max(list.at, 0), true)],
]);

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const { target, key } = event;
  const typing = target.matches("input[type=search], select");
  let act = null;
  if (key === "Escape") act = () => escape(target);
  else if (target === byId("query") && (key === "ArrowDown" || key === "Enter")) act = () => (list.box.focus(), list.at < 0 && move(1));
  else if (typing) return;
  else if (target === list.box && IN_LIST.has(key)) act = IN_LIST.get(key);
  // Within the pane the arrows scroll it, as everywhere.
  else if (pane.contains(target) && key.startsWith("Arrow")) return;
  else act = SHORTCUTS.get(key);
  if (!act) return;
  event.preventDefault();
  act();
}

function escape(target) {
  if (target === byId("query") && state.query) {
    state.query = byId("query").value = "";
    search();
  } else if (pane.contains(target) || document.body.dataset.pane === "pane") {
    showPane("list");
    list.box.focus();
  } else if (state.open) closeOpen();
  else list.box.focus();
}
