// Which values lines have: the newest that the search finds, counted by the server.

import { address, json } from "../base/api.js";
import { button, element } from "../base/dom.js";
import { countOf } from "../base/sizes.js";
import { visible } from "../base/texts.js";
import { clock, day } from "../base/times.js";

/** Values of a field that are shown. */
const ROWS = 8;

/**
 * @typedef {{ value: string, lines: number }} FacetValue
 * @typedef {{ field: string, values: FacetValue[], others: number }} Facet
 * @typedef {{ since: string, step: number, lines: number[] }} OverTime
 * @typedef {{ counted: number, complete: boolean, counted_to: string | null, over_time: OverTime | null, fields: Facet[] }} Facets
 */

/**
 * Counts and shows them.
 * @param {HTMLElement} target
 * @param {Record<string, string | number>} question  what the search asks the API, and the seconds of a bar
 * @param {AbortSignal} signal
 * @param {(name: string, value: string, isWithout: boolean) => void} choose
 * @returns {Promise<Facets | null>}
 */
export async function loadFacets(target, question, signal, choose) {
  target.replaceChildren(element("p", { class: "muted" }, "Counting …"));
  try {
    const facets = await json(address("/api/v1/search/facets", question), { signal });
    if (!signal.aborted) {
      show(target, facets, choose);
      return facets;
    }
  } catch {
    if (!signal.aborted) target.replaceChildren(element("p", { class: "muted" }, "Not counted now."));
  }
  return null;
}

/** @param {Facets} facets */
function heading(facets) {
  const lines = countOf(facets.counted, "line");
  if (facets.complete) return facets.counted === 1 ? lines : `All ${lines}`;
  if (!facets.counted_to) return `The newest ${lines}`;
  const to = new Date(facets.counted_to);
  return `The newest ${lines}, back to ${day(to)} ${clock(to)}`;
}

/**
 * @param {HTMLElement} target
 * @param {Facets} facets
 * @param {(name: string, value: string, isWithout: boolean) => void} choose
 */
function show(target, facets, choose) {
  target.replaceChildren();
  if (facets.counted === 0) return;
  target.append(element("p", { class: "muted counted" }, heading(facets)));
  for (const { field, values, others } of facets.fields) {
    if (values.length === 0) continue;
    target.append(element("h3", {}, field));
    for (const { value, lines } of values.slice(0, ROWS)) {
      const text = visible(value);
      const row = button("", (event) => choose(field, value, event.altKey), { class: "plain", title: `Only ${field} ${text}; with Alt: without it` });
      row.append(element("span", {}, text), element("span", { class: "number" }, lines.toLocaleString("en")));
      target.append(row);
    }
    const rest = values.slice(ROWS).reduce((sum, { lines }) => sum + lines, others);
    if (rest > 0) target.append(element("p", { class: "muted others" }, element("span", {}, "others"), element("span", { class: "number" }, rest.toLocaleString("en"))));
  }
}
