// What every page has: local times, the keyboard, the help, questions before an action, and parts that refresh.

import { byId, toast } from "./base/dom.js";
import { localize, tick, zone } from "./base/times.js";

/** Pages by the letter behind `g`. */
const PAGES = { o: "/", w: "/windows", l: "/live", s: "/search", t: "/tickets", a: "/alerts" };

localize();
setInterval(tick, 5_000);
const zoneMark = document.getElementById("zone");
if (zoneMark) zoneMark.textContent = zone() === "UTC" ? "Times are UTC, as your zone is." : `Times are in your zone, ${zone()}; UTC on hover.`;

const help = /** @type {HTMLDialogElement} */ (byId("help"));
let isGoing = false;

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && target.matches("input, textarea")) {
    target.blur();
    return;
  }
  if (target.matches("input, textarea, select")) return;
  const page = isGoing ? PAGES[/** @type {keyof typeof PAGES} */ (event.key)] : undefined;
  const wasGoing = isGoing;
  isGoing = false;
  if (page) {
    location.assign(page);
  } else if (event.key === "g" && !wasGoing) {
    isGoing = true;
    setTimeout(() => { isGoing = false; }, 1_500);
  } else if (event.key === "?") {
    if (help.open) help.close(); else help.showModal();
  } else if (event.key === "/") {
    const find = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-find]") ?? document.querySelector(".find input"));
    find?.focus();
    find?.select();
  } else {
    return;
  }
  event.preventDefault();
});
document.getElementById("help-open")?.addEventListener("click", () => help.showModal());

// A form that changes something asks first.
document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  const question = form.dataset.confirm;
  if (!question || form.dataset.confirmed) return;
  event.preventDefault();
  const dialog = /** @type {HTMLDialogElement} */ (byId("question"));
  byId("question-text").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "yes") return;
    form.dataset.confirmed = "yes";
    form.requestSubmit();
  }, { once: true });
});

/**
 * What is being fetched.
 * @type {AbortController | null}
 */
let loading = null;

/**
 * Fetches an address of this page and takes over its parts that change. An older answer that comes late is of no use.
 * @param {string} address
 */
async function load(address) {
  const stale = byId("stale");
  const control = new AbortController();
  loading?.abort();
  loading = control;
  const timer = setTimeout(() => control.abort(), 20_000);
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, signal: control.signal });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    // The server's own page, whose values are escaped by its templates. Scripts in it do not run.
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (loading !== control) return;
    for (const part of document.querySelectorAll("[data-refresh]")) {
      const next = fresh.getElementById(part.id);
      if (next) replace(part, document.adoptNode(next));
    }
    stale.hidden = true;
    localize();
    document.dispatchEvent(new CustomEvent("refreshed"));
  } catch {
    if (loading === control) stale.hidden = false;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Puts a part in the place of an older one. What a reader has opened, scrolled, written or chosen there stays: the elements with a
 * `data-key`, and the part itself.
 * @param {Element} old
 * @param {HTMLElement} next
 */
function replace(old, next) {
  const keyed = new Map([...next.querySelectorAll("[data-key]")].map((it) => [it.getAttribute("data-key"), it]));
  const pairs = [...old.querySelectorAll("[data-key]")].map((it) => ({ was: it, is: keyed.get(it.getAttribute("data-key")) }));
  // Before the old part leaves the page, and forgets how far it was scrolled.
  const scrolled = [{ was: old, is: /** @type {Element | undefined} */ (next) }, ...pairs]
    .filter(({ was }) => was.scrollTop > 0 || was.scrollLeft > 0)
    .map(({ was, is }) => ({ is, top: was.scrollTop, left: was.scrollLeft }));
  for (const { was, is } of pairs) {
    if (was instanceof HTMLDetailsElement && is instanceof HTMLDetailsElement) is.open = was.open;
    if (was instanceof HTMLInputElement && is instanceof HTMLInputElement && was.value !== was.defaultValue) is.value = was.value;
    if (was instanceof HTMLSelectElement && is instanceof HTMLSelectElement) is.value = was.value;
  }
  old.replaceWith(next);
  for (const { is, top, left } of scrolled) is?.scrollTo(left, top);
}

// A page that stays open shows what is. A reader in the middle of something is left alone.
function refresh() {
  if (!document.hidden && !document.querySelector("[data-refresh] :focus-visible, .readout, dialog[open]")) load(location.href);
}

// Order and choice are made by the server, so they work without this script; with it they need no new page.
document.addEventListener("click", (event) => {
  const link = /** @type {HTMLElement} */ (event.target).closest("a[data-swap]");
  if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.replaceState(null, "", link.href);
  load(link.href);
});
for (const form of document.querySelectorAll("form[data-swap]")) {
  let timer = 0;
  form.addEventListener("input", (event) => {
    const { drops } = /** @type {HTMLElement} */ (event.target).dataset;
    clearTimeout(timer);
    timer = setTimeout(() => {
      const address = new URL(location.href);
      // Another choice, which this one takes the place of.
      if (drops) address.searchParams.delete(drops);
      for (const [name, value] of new FormData(/** @type {HTMLFormElement} */ (form))) {
        // Hidden ones are for readers without this script; what links have chosen since is in the address.
        if (form.querySelector(`input[type=hidden][name="${name}"]`)) continue;
        if (value) address.searchParams.set(name, String(value)); else address.searchParams.delete(name);
      }
      history.replaceState(null, "", address);
      load(address.href);
    }, 180);
  });
}

const every = Number(document.body.dataset.refreshSeconds);
if (every > 0) {
  setInterval(refresh, every * 1000);
  document.addEventListener("visibilitychange", refresh);
}

const said = new URLSearchParams(location.search).get("done");
if (said) {
  toast(said.slice(0, 200));
  const address = new URL(location.href);
  address.searchParams.delete("done");
  history.replaceState(history.state, "", address);
}

// The server begins a day where the reader's does.
const zoneName = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC");
if (!document.cookie.includes(`zone=${zoneName}`)) {
  document.cookie = `zone=${zoneName}; path=/; max-age=31536000; samesite=strict`;
}
