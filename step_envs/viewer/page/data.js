// The data blocks of this file: the index, read at once, and conversations, unpacked when they are opened.

const index = JSON.parse(document.getElementById("index").textContent);

const rows = index.rows.map(rowOf);

function rowOf(values, order) {
  const row = { order };
  index.columns.forEach((name, column) => (row[name] = values[column]));
  for (const name of ["env", "type", "split", "agent"]) row[name] = index.tables[name][row[name]];
  row.teacher = row.teacher === null ? "none" : index.tables.teacher[row.teacher];
  row.errors = 0;
  for (const mark of row.strip) if (mark === "x") row.errors += 1;
  row.sought = `${row.task}\n${row.type}\n${row.instruction}\n${row.episode ?? ""}`.toLowerCase();
  return row;
}

const KEPT = 12; // unpacked chunks kept in memory
const unpacked = new Map();

async function unpack(name) {
  if (index.live) return ask(name);
  const block = document.getElementById(name);
  if (block === null) throw new Error(`This file is not whole: block ${name} is missing. Write it again.`);
  if (!("DecompressionStream" in window)) {
    throw new Error("This browser cannot unpack the conversations: use one from 2024 or later.");
  }
  const binary = atob(JSON.parse(block.textContent));
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function block(name) {
  let promise = unpacked.get(name);
  if (promise) unpacked.delete(name);
  else promise = unpack(name);
  unpacked.set(name, promise);
  for (const old of unpacked.keys()) {
    if (unpacked.size <= KEPT) break;
    unpacked.delete(old);
  }
  return promise;
}

let manual = null;

// The record of a row, with the text of the manual put back.
async function recordOf(row) {
  manual ??= index.live ? [] : unpack("manual");
  let [texts, chunk] = await Promise.all([manual, block(`chunk-${row.chunk}`)]);
  if (!(row.at in chunk)) {
    // The last chunk of a run that is followed has grown since it was read.
    unpacked.delete(`chunk-${row.chunk}`);
    chunk = await block(`chunk-${row.chunk}`);
  }
  const item = chunk[row.at];
  item.manual.forEach((number, at) => (item.record.turns[at].content = texts[number]));
  return item.record;
}

let vocabulary = null;

// The training samples of a row as a tokenizer cuts them, or null where the file does not hold them.
async function tokensOf(row) {
  if (!index.tokenizer || !document.getElementById(`tokens-${row.chunk}`)) return null;
  vocabulary ??= unpack("vocabulary");
  const [words, chunk] = await Promise.all([vocabulary, block(`tokens-${row.chunk}`)]);
  const windows = chunk[row.at];
  return windows ? windows.map(({ t, w }) => ({ words: t.map((number) => words[number]), weights: w })) : null;
}

// Whether a text occurs in the conversation of each row; asks `go` between chunks whether to go on.
async function searchConversations(text, go, progress, among = rows) {
  const found = new Set();
  const byChunk = new Map();
  for (const row of among) {
    if (!byChunk.has(row.chunk)) byChunk.set(row.chunk, []);
    byChunk.get(row.chunk).push(row);
  }
  let done = 0;
  for (const [number, held] of byChunk) {
    const chunk = await unpack(`chunk-${number}`);
    if (!go()) return null;
    for (const row of held) {
      if (chunk[row.at].record.turns.some((turn) => turn.content.toLowerCase().includes(text))) found.add(row);
    }
    done += 1;
    progress(done / byChunk.size);
  }
  return found;
}

// A conversation as steps: what comes before the first reply, then each reply with what the world answered.
function stepsOf(record) {
  const task = record.turns.findLastIndex((turn) => turn.kind === "instruction");
  const steps = [];
  const answers = [];
  record.turns.forEach((turn, at) => {
    if (at <= task) return;
    if (turn.role === "assistant") steps.push({ number: steps.length + 1, turn, at, answers: [] });
    else (steps.at(-1)?.answers ?? answers).push(turn);
  });
  return { opening: record.turns.slice(0, Math.max(task, 0)), task: record.turns[task] ?? null, answers, steps };
}

// Pairs of episodes on the same task: the first of one run with the first of the other, and so on.
function pairsOf(left, right) {
  const byTask = new Map();
  for (const row of rows) {
    if (row.run !== left && row.run !== right) continue;
    const key = `${row.env}\n${row.task}`;
    if (!byTask.has(key)) byTask.set(key, [[], []]);
    byTask.get(key)[row.run === left ? 0 : 1].push(row);
  }
  const pairs = [];
  for (const [ours, theirs] of byTask.values()) {
    for (let turn = 0; turn < Math.min(ours.length, theirs.length); turn += 1) {
      pairs.push({ order: pairs.length, turn, rows: [ours[turn], theirs[turn]] });
    }
  }
  return pairs;
}
