// Lines over time as bars; dragging over them chooses a time.

import { element, svg } from "../base/dom.js";
import { clock, day } from "../base/times.js";

/**
 * @typedef {object} Histogram
 * @property {number} from  milliseconds
 * @property {number} step
 * @property {number[]} all  lines in each step
 * @property {number[]} found  of them found, as far as was searched
 */

/**
 * Draws bars.
 * @param {HTMLElement} target
 * @param {Histogram} data
 */
export function draw(target, data) {
  const count = Math.max(1, data.all.length);
  const max = Math.max(1, ...data.all, ...data.found);
  const picture = svg("svg", { viewBox: `0 0 ${count} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const bar = (/** @type {number} */ index, /** @type {number} */ value, /** @type {string} */ name) => {
    if (value <= 0) return;
    // A few among many are seen too.
    const height = Math.max(2, (value / max) * 100);
    picture.append(svg("rect", { class: name, x: index + 0.08, y: 100 - height, width: 0.84, height }));
  };
  data.all.forEach((value, index) => bar(index, value, "all"));
  data.found.forEach((value, index) => bar(index, value, "hits"));
  const length = count * data.step;
  const isLong = length > 36 * 3_600_000;
  const ticks = element("div", { class: "ends" });
  for (const time of roundTimes(data.from, length, target.clientWidth < 500 ? 5 : 9)) {
    const at = new Date(time);
    const text = isLong && clock(at).startsWith("00:00") ? day(at).slice(5) : isLong ? `${day(at).slice(5)} ${clock(at).slice(0, 5)}` : clock(at).slice(0, 5);
    const tick = element("span", {}, text);
    tick.style.left = `${((time - data.from) / length) * 100}%`;
    ticks.append(tick);
  }
  target.replaceChildren(picture, ticks);
}

/**
 * Times that a clock's face has, by the reader's clock. Those whose mark would stick out at an end are left out.
 * @param {number} from
 * @param {number} length
 * @param {number} atMost
 */
function roundTimes(from, length, atMost) {
  const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080, 43_200];
  const step = (minutes.find((it) => length / (it * 60_000) <= atMost) ?? 43_200) * 60_000;
  // Minutes from the reader's midnight on: a step of six hours begins there in any zone.
  const midnight = new Date(from).setHours(0, 0, 0, 0);
  const times = [];
  for (let at = midnight; at <= from + length && times.length < 20; at += step) {
    if (at >= from + length * 0.03 && at <= from + length * 0.97) times.push(at);
  }
  return times;
}

/**
 * Lets a reader choose a time with the pointer.
 * @param {HTMLElement} target
 * @param {() => Histogram | null} current
 * @param {(since: number, until: number) => void} chosen
 */
export function draggable(target, current, chosen) {
  /** @type {number | null} */
  let start = null;
  /** @type {HTMLElement | null} */
  let box = null;
  const share = (/** @type {PointerEvent} */ event) => {
    const picture = target.querySelector("svg")?.getBoundingClientRect();
    if (!picture || picture.width === 0) return null;
    return Math.min(1, Math.max(0, (event.clientX - picture.left) / picture.width));
  };
  target.addEventListener("pointerdown", (event) => {
    start = share(event);
    if (start === null || event.button !== 0) return;
    target.setPointerCapture(event.pointerId);
    box = target.appendChild(element("div", { class: "chosen" }));
  });
  target.addEventListener("pointermove", (event) => {
    const data = current();
    const now = share(event);
    if (now === null || !data) return;
    const index = Math.min(data.all.length - 1, Math.floor(now * data.all.length));
    const at = new Date(data.from + index * data.step);
    const found = data.found[index] ?? 0;
    target.title = `${day(at)} ${clock(at).slice(0, 5)}: ${(data.all[index] ?? 0).toLocaleString("en")} lines${found ? `, ${found.toLocaleString("en")} found` : ""}`;
    if (start === null || !box) return;
    const picture = /** @type {SVGElement} */ (target.querySelector("svg")).getBoundingClientRect();
    const left = target.getBoundingClientRect().left;
    box.style.left = `${picture.left - left + Math.min(start, now) * picture.width}px`;
    box.style.width = `${Math.abs(now - start) * picture.width}px`;
  });
  target.addEventListener("pointerup", (event) => {
    const data = current();
    const end = share(event);
    const from = start;
    start = null;
    box?.remove();
    box = null;
    if (from === null || end === null || !data || Math.abs(end - from) < 0.004) return;
    const at = (/** @type {number} */ part) => Math.round(data.from + part * data.all.length * data.step);
    chosen(at(Math.min(from, end)), at(Math.max(from, end)));
  });
}
