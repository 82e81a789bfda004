// What a chart's numbers are under the pointer. The picture is the server's; its numbers stand in the legend.

import { element } from "./base/dom.js";
import { size } from "./base/sizes.js";
import { about, clock, day } from "./base/times.js";

const UNITS = {
  count: (/** @type {number} */ value) => value.toLocaleString("en"),
  share: (/** @type {number} */ value) => `${(value / 100).toFixed(2)} %`,
  seconds: (/** @type {number} */ value) => about(value),
  bytes: (/** @type {number} */ value) => size(value),
  rate: (/** @type {number} */ value) => `${(value / 1000).toLocaleString("en")}/s`,
};

/** Rows that are shown at most. */
const ROWS = 12;

/** @param {HTMLElement} figure */
function watch(figure) {
  const plot = figure.querySelector(".plot-area");
  const entries = [...figure.querySelectorAll("[data-values]")].map((item) => ({
    name: item.textContent?.trim() ?? "",
    swatch: item.querySelector(".swatch")?.className ?? "swatch",
    values: (item.getAttribute("data-values") ?? "").split(" "),
  }));
  if (!plot || entries.length === 0) return;
  const from = Number(figure.dataset.from);
  const step = Number(figure.dataset.step);
  const unit = UNITS[/** @type {keyof typeof UNITS} */ (figure.dataset.unit)] ?? UNITS.count;
  const steps = Math.max(...entries.map((entry) => entry.values.length));
  /** @type {HTMLElement | null} */
  let readout = null;
  /** @type {HTMLElement | null} */
  let line = null;

  const leave = () => {
    readout?.remove();
    line?.remove();
    readout = line = null;
  };
  const move = (/** @type {PointerEvent} */ event) => {
    const box = plot.getBoundingClientRect();
    const outer = figure.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    if (share < 0 || share > 1) { leave(); return; }
    const index = Math.min(steps - 1, Math.floor(share * steps));
    const at = new Date((from + index * step) * 1000);
    const rows = entries
      .map((entry) => ({ ...entry, value: entry.values[index] }))
      .filter((entry) => entry.value !== undefined && entry.value !== "-")
      .map((entry) => ({ ...entry, number: Number(entry.value) }));
    const shown = rows.filter((row) => row.number > 0).slice(0, ROWS);
    const table = element("table", {});
    for (const row of shown.length > 0 ? shown : rows.slice(0, 1)) {
      table.append(element("tr", {},
        element("td", {}, element("span", { class: row.swatch }), ` ${row.name}`),
        element("td", { class: "number" }, unit(row.number))));
    }
    readout ??= figure.appendChild(element("div", { class: "readout" }));
    readout.replaceChildren(element("b", {}, `${day(at)} ${clock(at).slice(0, 5)}`), table);
    line ??= figure.appendChild(element("div", { class: "cursor-line" }));
    const x = box.left - outer.left + ((index + 0.5) / steps) * box.width;
    line.style.left = `${x}px`;
    line.style.top = `${box.top - outer.top}px`;
    line.style.height = `${box.height}px`;
    const isLeft = x < outer.width / 2;
    readout.style.left = isLeft ? `${x + 12}px` : "auto";
    readout.style.right = isLeft ? "auto" : `${outer.width - x + 12}px`;
    readout.style.top = `${box.top - outer.top + 6}px`;
  };
  figure.addEventListener("pointermove", move);
  figure.addEventListener("pointerleave", leave);
}

export function watchCharts() {
  for (const figure of document.querySelectorAll("figure.chart[data-step]")) watch(/** @type {HTMLElement} */ (figure));
}

watchCharts();
document.addEventListener("refreshed", watchCharts);
