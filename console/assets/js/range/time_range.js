// The time of a search: a length until now, as `1h`, or two moments.

const UNITS = { s: 1, m: 60, h: 3_600, d: 86_400 };

/**
 * @typedef {object} TimeRange
 * @property {string} since  as in the address: `1h`, RFC 3339, or nothing
 * @property {string} until
 */

/** A time that all readers read alike (RFC 3339). */
const FULL_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;

/**
 * The moment of a text; null if this page cannot say it. The API reads more, such as `today`.
 * @param {string} text
 * @param {number} now
 * @returns {number | null}
 */
export function momentOf(text, now) {
  const length = /^(\d+)([smhd])$/.exec(text);
  if (length) return now - Number(length[1]) * UNITS[/** @type {keyof typeof UNITS} */ (length[2])] * 1000;
  const at = FULL_TIME.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? null : at;
}

/**
 * Both ends in milliseconds.
 * @param {TimeRange} range
 * @param {number} now
 */
export function endsOf(range, now) {
  return { since: momentOf(range.since, now), until: momentOf(range.until, now) ?? now };
}

/**
 * An end as the API is asked for it: the moment, so that it does not move; a text that only the API can read, as it is.
 * @param {string} text
 * @param {number} now
 */
export function askedEnd(text, now) {
  const at = momentOf(text, now);
  if (at !== null) return rfc3339(at);
  return text === "all" ? "" : text;
}

/** @param {number} ms */
export function rfc3339(ms) {
  return new Date(ms).toISOString().replace(/\.000Z$/, "Z");
}

/**
 * A moment as a field of a form has it: the reader's clock.
 * @param {number} ms
 */
export function localField(ms) {
  const at = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 19);
}

/**
 * The length of a bar: about a hundred bars, of a minute or more.
 * @param {number} length  milliseconds
 */
export function stepOf(length) {
  const steps = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];
  const wanted = length / 1000 / 110;
  return (steps.find((step) => step >= wanted) ?? 86_400) * 1000;
}
