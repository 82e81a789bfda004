// The search page. The address says all of a search, so a link or the way back shows the same.

import { ApiError, address, errorText, json, request, send } from "./base/api.js";
import { askFor, byId, copy, element, inputById, toast } from "./base/dom.js";
import { countOf } from "./base/sizes.js";
import { draggable, draw } from "./range/histogram.js";
import { loadFacets } from "./lines/facets.js";
import { logRow, rowKeys } from "./lines/log_row.js";
import { condition, filter, shellWord, visible, withCondition } from "./base/texts.js";
import { clock, day } from "./base/times.js";
import { askedEnd, endsOf, localField, momentOf, rfc3339, stepOf } from "./range/time_range.js";

/** @typedef {import("./base/api.js").Line} Line */

/** Lines of a page. */
const PAGE = 200;

/** Lines on the page at most; more is an export. */
const LINES_MAX = 5_000;

const log = byId("log");
const more = byId("more");
const progress = byId("progress");
const bar = /** @type {HTMLProgressElement} */ (byId("bar"));
const range = /** @type {HTMLSelectElement} */ (byId("range"));

/** @type {Line[]} */
let lines = [];
/** @type {AbortController | null} */
let running = null;
/** Ends the counting of values, when another search begins. */
let counting = new AbortController();
/** @type {import("./range/histogram.js").Histogram | null} */
let histogram = null;
/** Its bars have all found lines that are later than this, so a further page adds none of them. */
let countedTo = Infinity;
/** Where the search goes on. */
let next = "";
/** The ends of the search that is shown, fixed when it began. */
let ends = { since: /** @type {number | null} */ (null), until: Date.now() };
/** When it began. */
let startedAt = Date.now();

/** Fields that may stand in the address by themselves, as in that of the live page. */
const FILTERS = ["source", "group", "log", "level", "status", "path"];

/** What the address says. */
function inAddress() {
  const words = new URLSearchParams(location.search);
  const filters = FILTERS.flatMap((name) => words.getAll(name).filter((value) => value).map((value) => filter(name, value)));
  return { q: [words.get("q") ?? "", ...filters].join(" ").trim(), regex: words.get("regex") ?? "", since: words.get("since") ?? "1h", until: words.get("until") ?? "" };
}

/**
 * Whether this end is a text that only the API can read.
 * @param {string} text
 */
function isOfApi(text) {
  return text !== "" && text !== "all" && momentOf(text, startedAt) === null;
}

/** What the form says. */
function inForm() {
  const words = { q: inputById("q").value.trim(), regex: inputById("regex").value, since: range.value, until: "" };
  if (range.value === "own") {
    const shown = endsOf(inAddress(), startedAt);
    const at = (/** @type {"since" | "until"} */ id) => {
      const ms = Date.parse(inputById(id).value);
      if (Number.isNaN(ms)) return "";
      // A field has whole seconds, and an hour that comes twice only once: one that nobody changed stands for the end that was shown.
      const end = shown[id];
      const isUnchanged = end !== null && ms === Date.parse(localField(end));
      return rfc3339(isUnchanged ? end : ms);
    };
    // A text that only the API can read is in no field.
    const { since, until } = inAddress();
    words.since = at("since") || (isOfApi(since) ? since : "all");
    words.until = at("until") || (isOfApi(until) ? until : "");
  }
  return words;
}

/** @param {ReturnType<typeof inAddress>} words */
function fillForm(words) {
  inputById("q").value = words.q;
  inputById("regex").value = words.regex;
  range.querySelector("option[data-own]")?.remove();
  if (!words.until && isOfApi(words.since)) range.append(element("option", { value: words.since, "data-own": true }, `since ${visible(words.since)}`));
  const isKnown = !words.until && [...range.options].some((option) => option.value === words.since);
  range.value = isKnown ? words.since : "own";
  byId("own-range").hidden = range.value !== "own";
  const found = endsOf(words, startedAt);
  if (!isKnown || range.value === "own") {
    inputById("since").value = found.since === null ? "" : localField(found.since);
    inputById("until").value = isOfApi(words.until) ? "" : localField(found.until);
  }
}

/** What the API is asked, with ends that do not move. */
function question() {
  const words = inAddress();
  return { q: words.q, regex: words.regex, since: askedEnd(words.since, startedAt), until: askedEnd(words.until, startedAt) || rfc3339(ends.until) };
}

function highlightWords() {
  return (inAddress().q.match(/"(?:[^"]|"")*"|\S+/g) ?? [])
    .filter((word) => !word.startsWith("-"))
    .map((word) => word.replace(/^[\w.]+:(?=\S)/, "").replace(/["*]/g, "").toLowerCase())
    .filter((word) => word.length > 1);
}

/** Begins a search by the address. */
async function start() {
  running?.abort();
  const words = inAddress();
  startedAt = Date.now();
  fillForm(words);
  document.title = `${words.q || "Search"} · logferry`;
  ends = endsOf(words, startedAt);
  lines = [];
  next = "";
  log.replaceChildren();
  byId("facets").replaceChildren();
  byId("problem").hidden = byId("gaps").hidden = true;
  loadHistogram();
  counting.abort();
  counting = new AbortController();
  const { signal } = counting;
  await page();
  // After the lines, which people wait for.
  if (lines.length === 0 || signal.aborted || !histogram) return;
  const mine = histogram;
  const facets = await loadFacets(byId("facets"), { ...question(), step: mine.step / 1000 }, signal, narrow);
  if (facets && histogram === mine) countAll(mine, facets);
}

/** Searches one page more. */
async function page() {
  const control = new AbortController();
  running = control;
  const began = performance.now();
  byId("cancel").hidden = false;
  more.hidden = true;
  bar.hidden = false;
  bar.removeAttribute("value");
  const options = { words: highlightWords(), hasColumns: inputById("columns").checked, onField: narrow };
  let seen = 0;
  /** @type {any} */
  let end = null;
  try {
    const answer = await request(address("/api/v1/search", { ...question(), limit: PAGE, after: next }), {
      headers: { accept: "application/x-ndjson" }, signal: control.signal });
    for await (const found of objects(answer)) {
      if (found.id) {
        lines.push(found);
        seen += 1;
        log.append(logRow(found, options));
        count(found);
      } else {
        end = found;
        if (found.detail) throw new ApiError(found.detail);
        showProgress(found, began);
      }
    }
    finish(end, began, seen);
  } catch (error) {
    if (control.signal.aborted) {
      if (running === control) finish({ ...end, complete: false, isCancelled: true }, began, seen);
      return;
    }
    const problem = byId("problem");
    problem.textContent = errorText(error);
    problem.hidden = false;
    progress.textContent = "";
  } finally {
    if (running === control) {
      running = null;
      byId("cancel").hidden = true;
      bar.hidden = true;
    }
  }
}

/**
 * The objects of an NDJSON answer, as they come.
 * @param {Response} answer
 */
async function* objects(answer) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += value ?? "";
    const parts = rest.split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      if (part) yield JSON.parse(part);
    }
    if (done) break;
  }
  if (rest.trim()) yield JSON.parse(rest);
}

/**
 * @param {any} state
 * @param {number} began
 */
function showProgress(state, began) {
  const to = momentOf(state.searched_to ?? "", Date.now());
  if (to !== null && ends.since !== null && ends.until > ends.since) {
    bar.value = Math.min(1, Math.max(0, (ends.until - to) / (ends.until - ends.since)));
  }
  const back = to === null ? "" : `, back to ${day(new Date(to))} ${clock(new Date(to))}`;
  progress.textContent = `${countOf(lines.length, "line")}${back}, ${((performance.now() - began) / 1000).toFixed(1)} s …`;
}

/**
 * Where a search that was cancelled goes on: behind the last line that it gave, or where it had come to. A cursor is the time in
 * milliseconds, and the line there that was shown last.
 * @param {string | null | undefined} searchedTo
 */
function goesOn(searchedTo) {
  const last = lines.at(-1);
  const to = momentOf(searchedTo ?? "", Date.now()) ?? ends.until;
  if (!last) return String(to);
  const at = Date.parse(last.time);
  return to < at ? String(to) : `${at},${last.id}`;
}

/**
 * Says how far the search came.
 * @param {any} end
 * @param {number} began
 * @param {number} seen
 */
function finish(end, began, seen) {
  next = end?.isCancelled ? goesOn(end.searched_to) : end?.next ?? "";
  const seconds = ((performance.now() - began) / 1000).toFixed(2);
  const to = momentOf(end?.searched_to ?? "", Date.now());
  const back = to === null ? "" : `${day(new Date(to))} ${clock(new Date(to))}`;
  const number = element("b", {}, countOf(lines.length, "line"));
  let text = `: all of that time was searched, in ${seconds} s.`;
  if (end?.isCancelled) text = back ? `; cancelled, searched back to ${back}.` : "; cancelled.";
  else if (end && end.complete === false) text = `; searched back to ${back}, in ${seconds} s. There may be older ones.`;
  progress.replaceChildren(number, text);
  more.hidden = !next || lines.length >= LINES_MAX;
  if (lines.length === 0 && seen === 0 && !end?.isCancelled) {
    log.replaceChildren(element("p", { class: "empty" }, next ? "Nothing found so far." : "No line is like that in this time. Take a longer time, or fewer words."));
  }
  const notes = [...(end?.damage ?? []), ...(end?.notes ?? [])];
  const gaps = end?.gaps ?? [];
  if (gaps.length > 0) {
    const bytes = gaps.reduce((/** @type {number} */ sum, /** @type {any} */ gap) => sum + (gap.bytes ?? 0), 0);
    notes.push(`${bytes.toLocaleString("en")} bytes of this time were gone before they were indexed, so lines in them are not found here.`);
  }
  byId("gaps").replaceChildren(...notes.map((/** @type {string} */ note) => element("p", {}, note)));
  byId("gaps").hidden = notes.length === 0;
  if (histogram) draw(byId("histogram"), histogram);
}

// Lines over time.

async function loadHistogram() {
  const target = byId("histogram");
  const since = ends.since ?? ends.until - 7 * 86_400_000;
  const step = stepOf(ends.until - since);
  const from = Math.floor(since / step) * step;
  const steps = Math.max(1, Math.ceil((ends.until - from) / step));
  const mine = { from, step, all: new Array(steps).fill(0), found: new Array(steps).fill(0) };
  histogram = mine;
  countedTo = Infinity;
  try {
    const source = /(?:^|\s)source:([^\s*"]+)(?:\s|$)/.exec(inAddress().q)?.[1] ?? "";
    const answer = await json(address("/api/v1/numbers", { since: rfc3339(from), until: rfc3339(ends.until), per: step >= 3_600_000 ? "hour" : "minute", source }));
    for (const row of answer) {
      const index = Math.floor((Date.parse(row.time) - from) / step);
      if (index >= 0 && index < steps) mine.all[index] += row.lines;
    }
  } catch {
    // Without an indexer there are no numbers: the bars are of what is found.
  }
  if (histogram === mine) draw(target, mine);
}

/** @param {Line} line */
function count(line) {
  const at = Date.parse(line.time);
  if (!histogram || at > countedTo) return;
  const index = Math.floor((at - histogram.from) / histogram.step);
  if (index >= 0 && index < histogram.found.length) histogram.found[index] = (histogram.found[index] ?? 0) + 1;
}

/**
 * Takes over what the server has counted: of all lines that match, as far as it came. What is shown may be a few of them.
 * @param {import("./range/histogram.js").Histogram} bars
 * @param {import("./lines/facets.js").Facets} facets
 */
function countAll(bars, facets) {
  const counted = facets.over_time;
  if (!counted) return;
  const first = Math.round((Date.parse(counted.since) - bars.from) / bars.step);
  counted.lines.forEach((value, index) => {
    const at = first + index;
    if (at >= 0 && at < bars.found.length) bars.found[at] = Math.max(bars.found[at] ?? 0, value);
  });
  countedTo = facets.complete ? -Infinity : momentOf(facets.counted_to ?? "", Date.now()) ?? Infinity;
  draw(byId("histogram"), bars);
}

/**
 * Narrows the search to a field, or to lines without it.
 * @param {string} name
 * @param {string} value
 * @param {boolean} isWithout
 */
function narrow(name, value, isWithout) {
  const part = `${isWithout ? "-" : ""}${condition(name, value)}`;
  const q = inputById("q");
  q.value = withCondition(q.value, part);
  go();
}

/** Puts the form into the address, and searches. */
function go() {
  const words = inForm();
  history.pushState(null, "", address("/search", { q: words.q, regex: words.regex, since: words.since, until: words.until }));
  start();
}

function asCommand() {
  const { q, regex, since, until } = question();
  const words = [q ? (q.startsWith("-") ? `-- ${shellWord(q)}` : shellWord(q)) : ""];
  const options = [["--since", since], ["--until", until], ["--regex", regex]].filter(([, value]) => value).map(([name, value]) => `${name} ${shellWord(value ?? "")}`);
  return ["logferry search", ...options, `--limit ${PAGE}`, ...words].filter(Boolean).join(" ");
}

function asCurl() {
  const where = new URL(address("/api/v1/search", { ...question(), limit: PAGE }), location.href);
  return `curl -H "Authorization: Bearer $LOGFERRY_TOKEN" ${shellWord(where.href)}`;
}

// Saved searches.

async function loadSaved() {
  const select = byId("saved");
  try {
    const answer = await json("/api/v1/searches");
    const options = answer.map((/** @type {any} */ saved) => element("option", { value: saved.query }, visible(saved.name)));
    select.replaceChildren(element("option", { value: "" }, "–"), ...options);
  } catch {
    /** @type {HTMLSelectElement} */ (select).disabled = true;
  }
}

async function save() {
  const name = await askFor("Save this search under the name", inAddress().q);
  if (!name) return;
  try {
    await send("/api/v1/searches", "POST", { name, query: location.search.slice(1) });
    toast("Saved");
    loadSaved();
  } catch (error) {
    toast(errorText(error));
  }
}

byId("search").addEventListener("submit", (event) => { event.preventDefault(); go(); });
range.addEventListener("change", () => {
  const isOwn = range.value === "own";
  byId("own-range").hidden = !isOwn;
  if (isOwn) {
    inputById("since").value = localField(ends.since ?? Date.now() - 3_600_000);
    inputById("until").value = localField(ends.until);
  } else {
    go();
  }
});
byId("cancel").addEventListener("click", () => running?.abort());
more.addEventListener("click", page);
byId("wrap").addEventListener("change", () => log.classList.toggle("wrap", inputById("wrap").checked));
byId("columns").addEventListener("change", () => {
  const options = { words: highlightWords(), hasColumns: inputById("columns").checked, onField: narrow };
  log.replaceChildren(...lines.map((line) => logRow(line, options)));
});
byId("copy-link").addEventListener("click", () => copy(new URL(address("/search", question()), location.href).href));
byId("copy-curl").addEventListener("click", () => copy(asCurl()));
byId("copy-command").addEventListener("click", () => copy(asCommand()));
byId("save").addEventListener("click", save);
byId("saved").addEventListener("change", () => {
  const { value } = /** @type {HTMLSelectElement} */ (byId("saved"));
  if (value) location.assign(`/search?${value}`);
});
byId("export").addEventListener("change", () => {
  const select = /** @type {HTMLSelectElement} */ (byId("export"));
  if (select.value) location.assign(address("/api/v1/search/export", { ...question(), format: select.value }));
  select.value = "";
});
window.addEventListener("popstate", start);
document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === "w" && !target.matches("input, textarea, select") && !event.ctrlKey && !event.metaKey) byId("wrap").click();
});
draggable(byId("histogram"), () => histogram, (since, until) => {
  const words = inForm();
  history.pushState(null, "", address("/search", { q: words.q, regex: words.regex, since: rfc3339(since), until: rfc3339(until) }));
  start();
});
rowKeys(log);
loadSaved();
start();
