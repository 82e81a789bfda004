// The simple viewer: the newest line is on top, new ones come by themselves, bars count by level. With a date it shows that day.

import { ApiError, address, errorText, json, mark, openTicket, refusal, request, ticketPage } from "./base/api.js";
import { button, byId, element, inputById, svg, toast } from "./base/dom.js";
import { visible } from "./base/texts.js";

/**
 * A line as the stream of this page has it.
 * @typedef {{uuid: string, timestamp_str: string, log_level: string, client_id: string, message: string, is_pinned: boolean, is_ticket: boolean}} ViewedLine
 */

const ROWS_MAX = 1_000;
const KNOWN_MAX = 5_000;
/** So often the lines of a lost connection are asked for; an answer has 500. */
const ANSWERS_MAX = 10;
/** After so long a stream that the server did not give is asked for again. */
const OPEN_AGAIN_MS = 5_000;
const STREAM = "/stream-logs?skipped=event";
const LEVELS = ["ERROR", "WARNING", "INFO", "DEBUG"];
/** Class of the style sheet by the level's name. */
const CLASSES = { ERROR: "error", CRITICAL: "error", WARNING: "warn", WARN: "warn", INFO: "info", DEBUG: "debug" };

const log = byId("log");
const state = byId("stream-state");
const level = /** @type {HTMLSelectElement} */ (byId("level"));

/** @type {EventSource | null} */
let stream = null;
/** Ends the reading of a day, when something else is chosen. */
let reading = new AbortController();
let newest = "";
/** The lines that were shown of late. @type {Set<string>} */
const known = new Set();

/** @param {string} name */
function classOf(name) {
  return CLASSES[/** @type {keyof typeof CLASSES} */ (name.toUpperCase())] ?? "";
}

/** @param {ViewedLine} line */
function row(line) {
  const shown = element("div", { class: `row ${classOf(line.log_level)}`, tabindex: "-1", "data-id": line.uuid });
  shown.classList.toggle("pinned", line.is_pinned);
  const ticket = element("a", { class: "state calm", href: ticketPage(line.uuid) }, "ticket");
  ticket.hidden = !line.is_ticket;
  const act = async (/** @type {"pin" | "ticket" | "delete"} */ action) => {
    if (action === "ticket" && !ticket.hidden) {
      location.assign(ticketPage(line.uuid));
      return;
    }
    try {
      if (action === "ticket") {
        await openTicket(line.uuid);
        ticket.hidden = false;
        return;
      }
      const now = await mark(line.uuid, action);
      if (action === "pin") shown.classList.toggle("pinned", now.is_pinned);
      else {
        shown.hidden = now.is_deleted;
        if (now.is_deleted) toast("Hidden here; no file has changed", { label: "Undo", action: () => act("delete") });
      }
      showLevels();
    } catch (error) {
      toast(errorText(error));
    }
  };
  shown.append(
    element("span", { class: "level", title: visible(line.log_level) }),
    element("span", { class: "when" }, line.timestamp_str),
    element("span", { class: "from" }, line.client_id),
    element("div", { class: "text", dir: "ltr" }, element("b", {}, visible(line.log_level)), ` ${visible(line.message)} `, ticket),
    element("div", { class: "acts" },
      button("Pin", () => act("pin"), { class: "plain" }),
      button("Ticket", () => act("ticket"), { class: "plain" }),
      button("Delete", () => act("delete"), { class: "plain" })));
  return shown;
}

/** @param {ViewedLine} line */
function isWanted(line) {
  return !level.value || classOf(line.log_level) === classOf(level.value);
}

/** @param {ViewedLine[]} lines  the oldest first; one that is here already comes again after a lost connection */
function prepend(lines) {
  for (const line of lines) {
    if (known.has(line.uuid)) continue;
    known.add(line.uuid);
    newest = line.uuid;
    if (isWanted(line)) log.prepend(row(line));
  }
  for (const uuid of known) {
    if (known.size <= KNOWN_MAX) break;
    known.delete(uuid);
  }
  if (lines.length > 0) document.getElementById("nothing")?.remove();
  while (log.childElementCount > ROWS_MAX) log.lastElementChild?.remove();
}

/**
 * Says what is not here.
 * @param {string} text
 */
function skipped(text) {
  log.prepend(element("div", { class: "hole" }, text));
}

function startLive() {
  known.clear();
  newest = "";
  connect();
}

/** Opens the stream, and gets what came since the newest line. */
function connect() {
  stream?.close();
  const mine = new EventSource(STREAM);
  stream = mine;
  /**
   * Lines that came before those that were there.
   * @type {ViewedLine[] | null}
   */
  let early = null;
  mine.onopen = async () => {
    state.className = "state well";
    state.textContent = "live";
    early = [];
    // What is there, or came while the connection was lost.
    try {
      // With a line to begin at, an answer has the lines next to it, and all are here when one is empty.
      let since = newest;
      for (let answers = 1; ; answers += 1) {
        /** @type {ViewedLine[]} */
        const there = await json(address("/api/logs/new", { since }));
        if (stream !== mine) return;
        prepend(there);
        const last = there.at(-1);
        if (!since || !last) break;
        if (answers === ANSWERS_MAX) {
          skipped("More lines came than are shown here.");
          break;
        }
        since = last.uuid;
      }
    } catch (error) {
      // The stream goes on.
      if (stream === mine) skipped(`Lines from before are not shown here: ${errorText(error)}`);
    }
    if (stream !== mine) return;
    prepend(early ?? []);
    early = null;
  };
  mine.onmessage = (event) => {
    const line = JSON.parse(event.data);
    if (early) early.push(line); else prepend([line]);
  };
  mine.addEventListener("skipped", (event) => skipped(JSON.parse(event.data).text));
  mine.onerror = () => {
    state.className = "state bad";
    state.textContent = "connection lost, tries again";
    if (mine.readyState === EventSource.CLOSED) connectAgain(mine);
  };
}

/**
 * The browser does not try again after an answer that is no stream. This page does, unless the console refuses it for good.
 * @param {EventSource} closed
 */
async function connectAgain(closed) {
  const why = await refusal(STREAM);
  if (stream !== closed) return;
  if (why !== null) state.textContent = why;
  else setTimeout(() => { if (stream === closed) connect(); }, OPEN_AGAIN_MS);
}

/** Shows a day, newest first. */
async function showDay() {
  stream?.close();
  stream = null;
  state.className = "state calm";
  state.textContent = "a day";
  const from = new Date(`${inputById("date").value}T00:00:00`);
  // Not always 24 hours: clocks are put forward and back.
  const until = new Date(from.getFullYear(), from.getMonth(), from.getDate() + 1);
  const q = level.value ? `level:${classOf(level.value)}` : "";
  const { signal } = reading;
  log.replaceChildren();
  try {
    const answer = await request(address("/api/v1/search", { q, since: from.toISOString(), until: until.toISOString(), limit: ROWS_MAX }), { headers: { accept: "application/x-ndjson" }, signal });
    const texts = await answer.text();
    if (signal.aborted) return;
    // An answer that breaks off has no last object.
    let end = { complete: false };
    for (const text of texts.split("\n")) {
      const found = text ? JSON.parse(text) : {};
      if (found.detail) throw new ApiError(found.detail);
      if (found.complete !== undefined) end = found;
      if (!found.id) continue;
      log.append(row({ uuid: found.id, timestamp_str: found.time, log_level: (found.level ?? "").toUpperCase(), client_id: found.source, message: found.line, is_pinned: Boolean(found.is_pinned), is_ticket: Boolean(found.is_ticket) }));
    }
    if (!end.complete) {
      log.append(element("div", { class: "hole" }, "There may be older lines of this day. ",
        element("a", { href: address("/search", { q, since: from.toISOString(), until: until.toISOString() }) }, "Search them")));
    } else if (log.childElementCount === 0) log.append(element("p", { class: "empty" }, "No line is like that on this day."));
  } catch (error) {
    if (!signal.aborted) log.append(element("p", { class: "empty" }, errorText(error)));
  }
}

function start() {
  reading.abort();
  reading = new AbortController();
  log.replaceChildren(element("p", { class: "empty", id: "nothing" }, "Lines appear here as they come."));
  if (inputById("date").value) showDay(); else startLive();
}

async function showLevels() {
  try {
    /** @type {Record<string, number>} */
    const counts = await json("/api/log_stats");
    const names = [...LEVELS, ...Object.keys(counts).filter((name) => !LEVELS.includes(name))].filter((name) => counts[name] !== undefined || LEVELS.includes(name));
    const max = Math.max(1, ...Object.values(counts));
    byId("levels").replaceChildren(...names.map((name) => {
      const count = counts[name] ?? 0;
      const height = count > 0 ? Math.max(2, (count / max) * 96) : 0;
      return element("div", { class: classOf(name) },
        element("span", {}, count.toLocaleString("en")),
        svg("svg", { viewBox: "0 0 44 96", "aria-hidden": "true" }, svg("rect", { x: 0, y: 96 - height, width: 44, height, rx: 3 })),
        element("span", { class: "muted" }, visible(name)));
    }));
  } catch (error) {
    byId("levels").replaceChildren(element("p", { class: "note warn", role: "status" }, `No lines by level: ${errorText(error)}`));
  }
}

for (const id of ["level", "date"]) byId(id).addEventListener("change", start);
showLevels();
setInterval(showLevels, 5_000);
start();
