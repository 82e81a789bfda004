// The console's API, as pages use it. What each route takes and answers is in /api/v1/openapi.json.

/**
 * A line of a log.
 * @typedef {object} Line
 * @property {string} id
 * @property {string} time  RFC 3339
 * @property {string} source
 * @property {string} group
 * @property {string} [log]
 * @property {string | null} [level]
 * @property {number | null} [status]
 * @property {string} line
 * @property {Record<string, string>} [fields]
 * @property {boolean} [is_pinned]
 * @property {boolean} [is_ticket]
 */

/** What a request said is wrong: its own words, which say what to do. */
export class ApiError extends Error {}

/**
 * What a reader is told of a request that failed.
 * @param {unknown} error
 */
export function errorText(error) {
  return error instanceof ApiError ? error.message : "The console does not answer.";
}

/**
 * @param {Response} answer
 * @returns {Promise<Error>}
 */
async function problem(answer) {
  const text = await answer.text();
  try {
    return new ApiError(JSON.parse(text).detail ?? text);
  } catch {
    return new ApiError(text || `the console answered ${answer.status}`);
  }
}

/**
 * Why the console refuses a stream, for good; null if it may give it later. An EventSource does not tell.
 * @param {string} address
 * @returns {Promise<string | null>}
 */
export async function refusal(address) {
  const control = new AbortController();
  try {
    const answer = await fetch(address, { headers: { accept: "text/event-stream" }, signal: control.signal });
    if (answer.status === 401) return "You are not logged in any more: log in again.";
    // Too many requests, or one that took too long, pass by.
    const isForGood = answer.status >= 400 && answer.status < 500 && answer.status !== 429 && answer.status !== 408;
    return isForGood ? errorText(await problem(answer)) : null;
  } catch {
    return null;
  } finally {
    control.abort();
  }
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 */
export async function request(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { accept: "application/json", ...options.headers } });
  if (answer.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!answer.ok) throw await problem(answer);
  return answer;
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 */
export async function json(address, options) {
  return (await request(address, options)).json();
}

/**
 * Sends an object, and reads one.
 * @param {string} address
 * @param {string} method
 * @param {unknown} [body]
 */
export function send(address, method, body) {
  const hasBody = body !== undefined;
  return json(address, {
    method,
    ...(hasBody ? { body: JSON.stringify(body), headers: { "content-type": "application/json" } } : {}),
  });
}

/**
 * The address of a route with what is asked; empty values are left out.
 * @param {string} route
 * @param {Record<string, string | number | null | undefined>} query
 */
export function address(route, query) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) words.set(name, String(value));
  }
  const text = words.toString();
  return text ? `${route}?${text}` : route;
}

/**
 * The page of a line's ticket.
 * @param {string} id
 */
export function ticketPage(id) {
  return `/tickets?show=all#${encodeURIComponent(id)}`;
}

/**
 * Makes a ticket of a line. If somebody has already made it, it stays as it is.
 * @param {string} id
 */
export function openTicket(id) {
  return send(`/api/v1/lines/${encodeURIComponent(id)}/ticket`, "PUT", {});
}

/**
 * Pins a line, makes a ticket of it, hides it; or the opposite, if it is so already.
 * @param {string} id
 * @param {"pin" | "ticket" | "delete"} action
 */
export function mark(id, action) {
  return json(`/api/logs/${encodeURIComponent(id)}/${action}`, { method: "POST" });
}
