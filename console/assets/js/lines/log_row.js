// A line of a log as a row, and what is shown when it is opened.

import { address, errorText, json, mark, openTicket, ticketPage } from "../base/api.js";
import { button, copy, element, toast } from "../base/dom.js";
import { visible } from "../base/texts.js";
import { clock, day, utc } from "../base/times.js";

/** @typedef {import("../base/api.js").Line} Line */

/** Fields that are shown as columns, in this order, if the line has them. */
const COLUMNS = ["status", "method", "path", "request_time", "remote_addr", "service", "logger", "message"];

/** A line longer than this is shown from its beginning; opened, it is whole. */
const SHOWN_MAX = 2_000;

/** Lines of context on each side. */
const CONTEXT = 20;

/**
 * Splits a text at what was found in it.
 * @param {string} text
 * @param {string[]} words  in lower case
 */
function marked(text, words) {
  const parts = [];
  const lower = text.toLowerCase();
  let from = 0;
  while (from < text.length && parts.length < 400) {
    let at = -1;
    let length = 0;
    for (const word of words) {
      const found = lower.indexOf(word, from);
      if (found >= 0 && (at < 0 || found < at || (found === at && word.length > length))) {
        at = found;
        length = word.length;
      }
    }
    if (at < 0) break;
    if (at > from) parts.push(text.slice(from, at));
    parts.push(element("mark", {}, text.slice(at, at + length)));
    from = at + length;
  }
  parts.push(text.slice(from));
  return parts;
}

/**
 * The text of a row: columns if they are wanted, and the line has fields; else the line.
 * @param {Line} line
 * @param {RowOptions} options
 * @param {boolean} isOpen  then it is the line, whole
 */
function content(line, options, isOpen) {
  const words = options.words ?? [];
  const fields = line.fields ?? {};
  const named = options.hasColumns && !isOpen ? COLUMNS.filter((name) => fields[name] !== undefined) : [];
  const parts = named.flatMap((name) => [
    element("span", { class: `column column-${name}`, title: name }, ...marked(visible(fields[name] ?? "").slice(0, 300), words)), " "]);
  if (parts.length > 0) return parts;
  const whole = visible(line.line);
  const isLong = whole.length > SHOWN_MAX && !isOpen;
  return marked(isLong ? `${whole.slice(0, SHOWN_MAX)} … ${whole.length - SHOWN_MAX} more characters` : whole, words);
}

/**
 * @typedef {object} RowOptions
 * @property {string[]} [words]  what to highlight, in lower case
 * @property {boolean} [hasColumns]
 * @property {(name: string, value: string, isWithout: boolean) => void} [onField]  narrows the search to a field
 * @property {boolean} [isOwn]  the line that the context is about
 */

/**
 * Makes the row of a line.
 * @param {Line} line
 * @param {RowOptions} [options]
 */
export function logRow(line, options = {}) {
  const at = new Date(line.time);
  const row = element("div", { class: `row ${line.level ?? ""}`, tabindex: "-1", "data-id": line.id });
  if (line.is_pinned) row.classList.add("pinned");
  if (options.isOwn) row.classList.add("pinned");
  const acts = element("div", { class: "acts" },
    button("Pin", () => act(row, line, "pin"), { class: "plain", title: "Pin this line" }),
    button("Ticket", () => ticket(row, line), { class: "plain", title: "Make a ticket, or open it" }),
    button("Hide", () => act(row, line, "delete"), { class: "plain", title: "Hide this line here; no file changes" }));
  const from = element("span", { class: "from", title: `${line.group}, ${line.log ?? ""}` });
  if (line.is_ticket) from.append(ticketSign(line), " ");
  from.append(line.source);
  row.append(
    element("span", { class: "level", title: line.level ?? "" }),
    element("time", { class: "when", datetime: line.time, title: `${day(at)}, ${utc(at)}`, "data-form": "clock" }, clock(at)),
    from,
    element("div", { class: "text", dir: "ltr" }, ...content(line, options, false)),
    acts);
  row.addEventListener("click", (event) => {
    const isText = /** @type {HTMLElement} */ (event.target).closest(".text");
    if (isText && !String(getSelection())) toggle(row, line, options);
  });
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === row) {
      toggle(row, line, options);
      event.preventDefault();
    }
  });
  return row;
}

/**
 * @param {HTMLElement} row
 * @param {Line} line
 * @param {"pin" | "delete"} action
 */
async function act(row, line, action) {
  try {
    const state = await mark(line.id, action);
    if (action === "pin") {
      row.classList.toggle("pinned", state.is_pinned);
      toast(state.is_pinned ? "Pinned" : "No longer pinned");
    } else {
      row.hidden = state.is_deleted;
      const undo = () => act(row, line, "delete");
      toast(state.is_deleted ? "Hidden here; no file has changed" : "Shown again", state.is_deleted ? { label: "Undo", action: undo } : undefined);
    }
  } catch (error) {
    toast(errorText(error));
  }
}

/**
 * The sign of a line that has a ticket, which leads there.
 * @param {Line} line
 */
function ticketSign(line) {
  return element("a", { class: "state calm ticket", href: ticketPage(line.id), title: "This line has a ticket; open it" }, "ticket");
}

/**
 * Makes a ticket of a line; of one that has a ticket, opens it. A ticket ends on its own page: a second click here takes none away.
 * @param {HTMLElement} row
 * @param {Line} line
 */
async function ticket(row, line) {
  const page = ticketPage(line.id);
  if (line.is_ticket) {
    location.assign(page);
    return;
  }
  try {
    await openTicket(line.id);
    line.is_ticket = true;
    row.querySelector(".from")?.prepend(ticketSign(line), " ");
    toast("A ticket was made", { label: "Open it", action: () => location.assign(page) });
  } catch (error) {
    toast(errorText(error));
  }
}

/**
 * Opens a row, or closes it. An open one shows its line whole.
 * @param {HTMLElement} row
 * @param {Line} line
 * @param {RowOptions} options
 */
function toggle(row, line, options) {
  const next = row.nextElementSibling;
  const isOpen = Boolean(next?.classList.contains("detail"));
  row.classList.toggle("open", !isOpen);
  row.querySelector(".text")?.replaceChildren(...content(line, options, !isOpen));
  if (isOpen) next?.remove();
  else row.after(detail(row, line, options));
}

/**
 * @param {HTMLElement} row
 * @param {Line} line
 * @param {RowOptions} options
 */
function detail(row, line, options) {
  const batch = line.id.slice(0, line.id.lastIndexOf("@"));
  const around = new Date(line.time).getTime();
  const moment = (/** @type {number} */ ms) => new Date(around + ms).toISOString().replace(/\.\d+Z$/, "Z");
  const shown = element("div", { class: "detail" });
  const context = element("div", {});
  shown.append(
    element("div", { class: "tools" },
      button("Context", () => showContext(context, line)),
      element("a", { class: "button", href: address("/search", { q: `source:${line.source}`, since: moment(-60_000), until: moment(60_000) }) }, "This minute"),
      element("a", { class: "button", href: `/batches/${encodeURIComponent(batch)}` }, "Its window"),
      button("Copy line", () => copy(line.line)),
      button("Copy id", () => copy(line.id)),
      button("Pin", () => act(row, line, "pin")),
      button("Ticket", () => ticket(row, line)),
      button("Hide", () => act(row, line, "delete"))),
    context,
    fieldTable(line, options));
  return shown;
}

/**
 * @param {Line} line
 * @param {RowOptions} options
 */
function fieldTable(line, options) {
  const list = element("dl", { class: "facts" });
  const own = { id: line.id, source: line.source, group: line.group, log: line.log ?? "", level: line.level ?? "" };
  for (const [name, value] of Object.entries({ ...own, ...line.fields })) {
    if (value === "" || value === null) continue;
    const entry = element("dd", { dir: "ltr" }, visible(String(value)));
    if (options.onField && name !== "id") {
      const narrow = options.onField;
      entry.append(" ",
        button("+", () => narrow(name, String(value), false), { class: "plain", title: `Only lines with this ${visible(name)}` }),
        button("−", () => narrow(name, String(value), true), { class: "plain", title: `Only lines without this ${visible(name)}` }));
    }
    list.append(element("dt", {}, visible(name)), entry);
  }
  return list;
}

/**
 * Shows the lines before and after one in its batch.
 * @param {HTMLElement} target
 * @param {Line} line
 */
async function showContext(target, line) {
  if (target.childElementCount > 0) {
    target.replaceChildren();
    return;
  }
  try {
    const found = await json(address(`/api/v1/lines/${encodeURIComponent(line.id)}`, { before: CONTEXT, after: CONTEXT }));
    const lines = element("div", { class: "log" });
    for (const before of found.before ?? []) lines.append(logRow(before));
    lines.append(logRow(found.line && typeof found.line === "object" ? found.line : { ...line, ...found }, { isOwn: true }));
    for (const after of found.after ?? []) lines.append(logRow(after));
    target.replaceChildren(element("p", { class: "muted" }, "The lines around it, as its source wrote them"), lines);
  } catch (error) {
    target.replaceChildren(element("p", { class: "muted" }, errorText(error)));
  }
}

/**
 * Moves between rows by `j` and `k`.
 * @param {HTMLElement} log
 */
export function rowKeys(log) {
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if ((event.key !== "j" && event.key !== "k") || target.matches("input, textarea, select") || event.ctrlKey || event.metaKey) return;
    const rows = [...log.querySelectorAll(":scope > .row:not([hidden])")];
    const now = rows.findIndex((row) => row === document.activeElement);
    const next = now < 0 ? (event.key === "j" ? 0 : rows.length - 1) : now + (event.key === "j" ? 1 : -1);
    const row = /** @type {HTMLElement | undefined} */ (rows[next]);
    row?.focus();
    event.preventDefault();
  });
}
