// Times in the reader's zone, with UTC on hover. The server writes UTC into `<time datetime>`; here it becomes local.

const pad = (/** @type {number} */ number) => String(number).padStart(2, "0");

/** @param {Date} at */
export function clock(at) {
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

/** @param {Date} at */
export function day(at) {
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

/** @param {Date} at */
export function utc(at) {
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/**
 * For how long, in the largest unit: `42 s`, `5 min`, `3 h`, `4 d`.
 * @param {number} seconds
 */
export function about(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
}

/**
 * @param {Date} at
 * @param {string | undefined} form
 */
function text(at, form) {
  switch (form) {
    case "ago": return `${about((Date.now() - at.getTime()) / 1000)} ago`;
    case "clock": return clock(at);
    case "minute": return clock(at).slice(0, 5);
    default: return `${day(at)} ${clock(at)}`;
  }
}

/**
 * Shows the times below an element in the reader's zone.
 * @param {ParentNode} [root]
 */
export function localize(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = /** @type {HTMLTimeElement} */ (element);
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.dataset.form === "ago" ? `${day(at)} ${clock(at)} here, ${utc(at)}` : utc(at);
    time.textContent = text(at, time.dataset.form);
  }
  for (const mark of root.querySelectorAll("text[data-at]")) {
    mark.textContent = clock(new Date(Number(mark.getAttribute("data-at")) * 1000)).slice(0, 5);
  }
}

/** Lets the ages on the page grow. */
export function tick() {
  for (const element of document.querySelectorAll('time[data-form="ago"]')) {
    const time = /** @type {HTMLTimeElement} */ (element);
    time.textContent = text(new Date(time.dateTime), "ago");
  }
}

/** The reader's zone, as `UTC+6`. */
export function zone() {
  const minutes = -new Date().getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  const rest = size % 60 ? `:${pad(size % 60)}` : "";
  return `UTC${minutes < 0 ? "-" : "+"}${Math.floor(size / 60)}${rest}`;
}
