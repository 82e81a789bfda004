// The grid of windows: a cell is opened by a click or by the keyboard, and says what it is.

import { clock, day } from "./base/times.js";

const WORDS = { d: "delivered", w: "waiting", f: "refused", o: "open", q: "quiet", m: "missing", g: "gap", n: "nothing" };

/** @param {HTMLTableCellElement} cell */
function windowOf(cell) {
  const table = /** @type {HTMLTableElement} */ (cell.closest("table"));
  const row = /** @type {HTMLTableRowElement} */ (cell.parentElement);
  const start = Number(table.dataset.from) + Number(table.dataset.step) * (cell.cellIndex - 1);
  const link = row.querySelector("th a");
  return { start, end: start + Number(table.dataset.step), source: link?.textContent ?? "" };
}

/** @param {EventTarget | null} target */
function cellOf(target) {
  const cell = /** @type {HTMLElement} */ (target).closest("table.windows td");
  return cell instanceof HTMLTableCellElement && cell.className !== "n" ? cell : null;
}

/** @param {HTMLTableCellElement} cell */
function open(cell) {
  const { start, end, source } = windowOf(cell);
  location.assign(`/windows/${encodeURIComponent(source)}/${start}?seconds=${end - start}`);
}

document.addEventListener("click", (event) => {
  const cell = cellOf(event.target);
  if (cell && !(/** @type {HTMLElement} */ (event.target).closest("a"))) open(cell);
});

/**
 * Says what a cell is, when somebody comes to it: a grid has thousands.
 * @param {Event} event
 */
function describe(event) {
  const cell = cellOf(event.target);
  if (!cell || cell.title) return;
  const { start, end, source } = windowOf(cell);
  const from = new Date(start * 1000);
  const word = WORDS[/** @type {keyof typeof WORDS} */ (cell.className)] ?? "";
  const text = `${source}: ${word}, ${day(from)} ${clock(from).slice(0, 5)} – ${clock(new Date(end * 1000)).slice(0, 5)}`;
  cell.title = text;
  // Its own text is a sign. Of a single source the link in it has the focus.
  (cell.querySelector("a") ?? cell).setAttribute("aria-label", text);
}
document.addEventListener("pointerover", describe);
document.addEventListener("focusin", describe);

/** The column of the present time, or the first one: another day is shown. */
function presentColumn() {
  const table = /** @type {HTMLTableElement | null} */ (document.querySelector("table.windows"));
  const row = /** @type {HTMLTableRowElement | null} */ (document.querySelector("table.windows tbody tr:not(.group)"));
  if (!table || !row) return 1;
  const passed = Math.floor((Date.now() / 1000 - Number(table.dataset.from)) / Number(table.dataset.step));
  return passed >= 0 && passed + 1 < row.cells.length ? passed + 1 : 1;
}

// Arrows move between cells, Enter opens one. A reader of today comes for the present, and the grid begins at midnight.
let current = { row: 0, column: presentColumn() };
for (const wrap of document.querySelectorAll(".grid-wrap")) {
  const row = /** @type {HTMLTableRowElement | null} */ (wrap.querySelector("tbody tr:not(.group)"));
  const cell = row?.cells[current.column + 1] ?? row?.cells[current.column];
  if (cell && current.column > 1) wrap.scrollLeft = cell.offsetLeft + cell.offsetWidth - wrap.clientWidth;
}
document.addEventListener("keydown", (event) => {
  const wrap = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest(".grid-wrap"));
  if (!wrap) return;
  const rows = [...wrap.querySelectorAll("tbody tr:not(.group)")].map((row) => /** @type {HTMLTableRowElement} */ (row));
  const moves = { ArrowDown: { down: 1, right: 0 }, ArrowUp: { down: -1, right: 0 }, ArrowRight: { down: 0, right: 1 }, ArrowLeft: { down: 0, right: -1 } };
  const move = moves[/** @type {keyof typeof moves} */ (event.key)];
  if (event.key === "Enter" && event.target instanceof HTMLTableCellElement) {
    open(event.target);
  } else if (move && rows.length > 0) {
    const inCell = event.target instanceof HTMLTableCellElement;
    const { down, right } = inCell ? move : { down: 0, right: 0 };
    current.row = Math.min(rows.length - 1, Math.max(0, current.row + down));
    const cells = rows[current.row]?.cells;
    current.column = Math.min((cells?.length ?? 1) - 1, Math.max(1, current.column + right));
    const cell = cells?.[current.column];
    if (cell) { cell.tabIndex = -1; cell.focus(); }
  } else {
    return;
  }
  event.preventDefault();
});
