// Small helpers for building pages. Texts get into a page by `textContent` only, whatever they contain.

/**
 * Makes an element.
 * @param {string} name  its tag
 * @param {Record<string, string | boolean | null | undefined>} [attributes]  false, null and undefined are left out
 * @param {...(Node | string | null | undefined)} children  strings become text
 * @returns {HTMLElement}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (typeof value === "string") made.setAttribute(key, value);
  }
  for (const child of children) {
    if (child !== null && child !== undefined) made.append(child);
  }
  return made;
}

/**
 * Makes an SVG element.
 * @param {string} name
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/**
 * A button that does something.
 * @param {string} text
 * @param {(event: MouseEvent) => void} action
 * @param {Record<string, string>} [attributes]
 */
export function button(text, action, attributes = {}) {
  const made = /** @type {HTMLButtonElement} */ (element("button", { type: "button", ...attributes }, text));
  made.addEventListener("click", action);
  return made;
}

/**
 * The element with an id, which the page's template has.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

/**
 * The input with an id.
 * @param {string} id
 * @returns {HTMLInputElement}
 */
export function inputById(id) {
  return /** @type {HTMLInputElement} */ (byId(id));
}

/**
 * Copies text, and says so.
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    // Without TLS a browser gives no clipboard: show the text, chosen.
    const area = /** @type {HTMLTextAreaElement} */ (element("textarea", { rows: "5", cols: "60", readonly: true }, text));
    const close = button("Close", () => dialog.close());
    const dialog = /** @type {HTMLDialogElement} */ (element("dialog", {}, element("p", {}, "Copy this text:"), area, element("div", { class: "ends" }, close)));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    area.select();
  }
}

/**
 * Asks for a text; an empty one if the reader changes their mind.
 * @param {string} question
 * @param {string} value  what is suggested
 * @returns {Promise<string>}
 */
export function askFor(question, value) {
  const input = /** @type {HTMLInputElement} */ (element("input", { name: "answer", value, required: true, maxlength: "200", autocomplete: "off" }));
  const cancel = button("Cancel", () => dialog.close());
  const form = element("form", { method: "dialog" },
    element("label", { class: "field" }, question, input),
    element("div", { class: "ends" }, cancel, element("button", { class: "main", value: "yes" }, "Save")));
  const dialog = /** @type {HTMLDialogElement} */ (element("dialog", { class: "ask" }, form));
  document.body.append(dialog);
  dialog.showModal();
  input.select();
  return new Promise((answered) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      answered(dialog.returnValue === "yes" ? input.value.trim() : "");
    });
  });
}

/**
 * Says something for a moment.
 * @param {string} text
 * @param {{label: string, action: () => void}} [offer]  something that can be done about it
 */
export function toast(text, offer) {
  document.querySelector(".toast")?.remove();
  const shown = element("div", { class: "toast", role: "status" }, text);
  if (offer) {
    shown.append(button(offer.label, () => { shown.remove(); offer.action(); }));
  }
  document.body.append(shown);
  setTimeout(() => shown.remove(), offer ? 12_000 : 2_500);
}
