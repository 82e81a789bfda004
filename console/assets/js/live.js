// The live page: lines as they become durable.

import { address } from "./base/api.js";
import { byId, element, inputById } from "./base/dom.js";
import { listen } from "./lines/live_stream.js";
import { logRow, rowKeys } from "./lines/log_row.js";
import { countOf } from "./base/sizes.js";
import { condition, withCondition } from "./base/texts.js";
import { clock } from "./base/times.js";

/** Rows that are kept. A page without a bound grows to gigabytes in a minute. */
const ROWS_MAX = 1_000;

const FILTERS = ["source", "group", "log", "level", "status", "q"];

const log = byId("log");
const form = /** @type {HTMLFormElement} */ (byId("filters"));
const pauseButton = byId("pause");
const state = byId("stream-state");
const tally = byId("tally");

let isPaused = false;
/** @type {import("./base/api.js").Line[]} */
let waiting = [];
/** Lines that came while the page was paused, and had no room. */
let dropped = 0;
const counts = { matched: 0, shown: 0, skipped: 0 };
let stop = () => {};
/** The address of the stream. */
let target = "";

/** @type {SharedWorker | null} */
let worker = null;
if ("SharedWorker" in window) {
  worker = new SharedWorker(new URL("lines/live_worker.js", import.meta.url), { type: "module", name: "logferry live" });
}

/** What the form chooses. */
function chosen() {
  /** @type {Record<string, string>} */
  const query = {};
  for (const name of FILTERS) query[name] = inputById(`filter-${name}`).value.trim();
  return query;
}

function words() {
  return (chosen().q ?? "").toLowerCase().split(/\s+/).map((word) => word.replace(/["*]/g, "")).filter((word) => word && !word.startsWith("-") && !word.includes(":"));
}

function start() {
  stop();
  counts.matched = counts.shown = counts.skipped = 0;
  const query = chosen();
  history.replaceState(null, "", address("/live", query));
  target = new URL(address("/api/v1/live", query), location.href).href;
  const set = Object.values(query).filter((value) => value).length;
  byId("filters-open").textContent = set > 0 ? `Filters: ${set} set` : "Filters";
  state.className = "state calm";
  state.textContent = "connecting";
  if (!worker) {
    stop = listen(target, take);
    return;
  }
  const { port } = worker;
  port.onmessage = ({ data }) => take(data);
  port.postMessage({ type: "listen", address: target });
}
// The worker ends what nobody listens to any more. After a sleep it may have ended this page's stream, and begins it anew.
const here = () => worker?.port.postMessage({ type: "here", address: target });
setInterval(here, 15_000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) here(); });
// A page that the browser kept, for the way back, has ended its stream.
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
window.addEventListener("pagehide", () => { worker?.port.postMessage({ type: "end" }); stop(); });

/** @param {import("./lines/live_stream.js").StreamNews} news */
function take(news) {
  if (news.type === "lines") {
    takeLines(news.data);
  } else if (news.type === "lost") {
    state.className = "state bad";
    state.textContent = "connection lost, tries again";
  } else if (news.type === "refused") {
    state.className = "state bad";
    state.textContent = news.text;
  } else {
    state.className = "state well";
    state.textContent = isPaused ? "paused" : "live";
  }
}

/** @param {any} data */
function takeLines(data) {
  state.className = "state well";
  if (!isPaused) state.textContent = "live";
  counts.matched += data.matched ?? 0;
  counts.shown += data.shown ?? 0;
  counts.skipped += data.skipped ?? 0;
  for (const gap of data.holes ?? []) hole(gap);
  for (const lost of data.lost ?? []) {
    note(`${lost.bytes.toLocaleString("en")} bytes of ${lost.batch} were compressed or deleted before they could be shown; the search may have them.`);
  }
  const lines = data.lines ?? [];
  if (isPaused) {
    waiting = waiting.concat(lines);
    const over = Math.max(0, waiting.length - ROWS_MAX);
    waiting = waiting.slice(over);
    dropped += over;
    counts.shown -= over;
    counts.skipped += over;
  } else {
    append(lines);
  }
  showTally();
}

function showTally() {
  const number = (/** @type {number} */ value) => element("b", {}, value.toLocaleString("en"));
  tally.replaceChildren(number(counts.matched), " matched, ", number(counts.shown), " shown, ", number(counts.skipped), " skipped");
  if (waiting.length > 0) tally.append(", ", number(waiting.length), " wait");
}

/** @param {import("./base/api.js").Line[]} lines */
function append(lines) {
  if (lines.length === 0) return;
  document.getElementById("nothing")?.remove();
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const options = { words: words(), hasColumns: inputById("columns").checked, onField: narrow };
  log.append(...lines.slice(-ROWS_MAX).map((line) => logRow(line, options)));
  while (log.childElementCount > ROWS_MAX) log.firstElementChild?.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

/**
 * Puts a sentence between the lines.
 * @param {...(Node | string)} text
 */
function note(...text) {
  log.append(element("div", { class: "hole" }, ...text));
  if (!isPaused) log.scrollTop = log.scrollHeight;
}

/**
 * Names what is not shown. The server knows it: it numbers what it sends.
 * @param {{since: string | null, until: string, lines: number | null}} gap
 */
function hole(gap) {
  const until = new Date(gap.until);
  const from = gap.since ? new Date(gap.since) : null;
  const isOne = gap.lines === 1;
  const lines = gap.lines === null || gap.lines === undefined ? "Lines" : countOf(gap.lines, "line");
  const time = from ? `from ${clock(from)} to ${clock(until)}` : `until ${clock(until)}`;
  const since = from ? from.toISOString() : new Date(until.getTime() - 60_000).toISOString();
  note(`${lines} ${time} ${isOne ? "is" : "are"} not shown here: the stream was interrupted. `,
    element("a", { href: address("/search", { q: searchText(chosen()), since, until: until.toISOString() }) }, "Search them"));
}

/**
 * The filter as a text for the search.
 * @param {Record<string, string>} query
 */
function searchText(query) {
  const parts = ["source", "group", "log", "level", "status"].filter((name) => query[name]).map((name) => `${name}:${query[name]}`);
  return [...parts, query.q ?? ""].join(" ").trim();
}

/**
 * @param {string} name
 * @param {string} value
 * @param {boolean} isWithout
 */
function narrow(name, value, isWithout) {
  const input = document.getElementById(`filter-${name}`);
  // A field of the form says what lines have, and a list may not have this value.
  if (!isWithout && (input instanceof HTMLInputElement || input instanceof HTMLSelectElement)) {
    const before = input.value;
    input.value = value;
    if (input.value === value) {
      start();
      return;
    }
    input.value = before;
  }
  const q = inputById("filter-q");
  const part = `${isWithout ? "-" : ""}${condition(name, value)}`;
  q.value = withCondition(q.value, part);
  start();
}

/** @param {boolean} paused */
function pause(paused) {
  isPaused = paused;
  pauseButton.textContent = paused ? "Resume" : "Pause";
  pauseButton.setAttribute("aria-pressed", String(paused));
  if (paused) {
    state.textContent = "paused";
  } else {
    const lines = waiting;
    waiting = [];
    if (dropped > 0) note(`${dropped.toLocaleString("en")} lines that came while this page was paused are not shown here; the search has them.`);
    dropped = 0;
    append(lines);
    log.scrollTop = log.scrollHeight;
  }
  showTally();
}

function clear() {
  log.replaceChildren();
  waiting = [];
  dropped = 0;
  counts.matched = counts.shown = counts.skipped = 0;
  showTally();
}

pauseButton.addEventListener("click", () => pause(!isPaused));
byId("clear").addEventListener("click", clear);
byId("wrap").addEventListener("change", () => log.classList.toggle("wrap", inputById("wrap").checked));
byId("to-search").addEventListener("click", () => {
  const now = Date.now();
  location.assign(address("/search", { q: searchText(chosen()), since: new Date(now - 900_000).toISOString(), until: new Date(now).toISOString() }));
});
// Who scrolls up wants to read.
log.addEventListener("wheel", (event) => {
  if (event.deltaY < 0 && !isPaused && log.scrollHeight > log.clientHeight) pause(true);
}, { passive: true });

let timer = 0;
form.addEventListener("submit", (event) => { event.preventDefault(); start(); });
form.addEventListener("input", (event) => {
  if (!(/** @type {HTMLElement} */ (event.target).id.startsWith("filter-"))) return;
  clearTimeout(timer);
  timer = setTimeout(start, 400);
});
document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "p") pause(!isPaused);
  else if (event.key === "c") clear();
  else if (event.key === "w") byId("wrap").click();
});

rowKeys(log);
showTally();
start();
