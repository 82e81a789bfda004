// The page of the API: made from the document that the server makes of its code.

import { json } from "./base/api.js";
import { byId, element } from "./base/dom.js";

/**
 * The name of a type in the document.
 * @param {any} schema
 * @returns {string}
 */
function typeName(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `list of ${typeName(schema.items)}`;
  if (Array.isArray(schema.type)) return schema.type.join(" or ");
  if (schema.oneOf) return schema.oneOf.map(typeName).join(" or ");
  return schema.enum ? schema.enum.join(", ") : schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "";
}

/**
 * A text of the document: what stands between two backticks is code.
 * @param {string | undefined} text
 */
function prose(text) {
  return (text ?? "").split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

/**
 * A table with the same columns in each route or type.
 * @param {string} name
 * @param {string[]} titles
 * @param {HTMLElement[]} rows
 */
function listing(name, titles, rows) {
  return element("table", { class: `api ${name}` },
    element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", {}, title)))),
    element("tbody", {}, ...rows));
}

/**
 * @param {string} path
 * @param {string} verb
 * @param {any} route
 */
function shownRoute(path, verb, route) {
  const parameters = (route.parameters ?? []).map((/** @type {any} */ it) => element("tr", {},
    element("td", {}, element("code", {}, it.name), it.required ? " *" : ""),
    element("td", { class: "muted" }, it.in),
    element("td", {}, typeName(it.schema)),
    element("td", {}, ...prose(it.description))));
  const answers = Object.entries(route.responses ?? {}).map(([status, it]) => {
    const content = Object.entries(/** @type {any} */ (it).content ?? {}).map(([type, body]) => `${type} ${typeName(/** @type {any} */ (body).schema)}`);
    return element("tr", {}, element("td", {}, element("code", {}, status)), element("td", {}, ...prose(/** @type {any} */ (it).description), " ", element("span", { class: "muted" }, content.join(", "))));
  });
  return element("section", { class: "api-route" },
    element("h3", {}, element("span", { class: "verb" }, verb.toUpperCase()), element("code", {}, path)),
    element("p", {}, ...prose(route.summary)),
    route.description ? element("p", { class: "muted" }, ...prose(route.description)) : null,
    parameters.length > 0 ? listing("parameters", ["Parameter", "In", "Type", "Meaning"], parameters) : null,
    listing("answers", ["Answer", "What it has"], answers));
}

/** @param {[string, any]} schema */
function shownType([name, schema]) {
  const fields = Object.entries(schema.properties ?? {}).map(([field, it]) => element("tr", {},
    element("td", {}, element("code", {}, field), (schema.required ?? []).includes(field) ? " *" : ""),
    element("td", {}, typeName(it)),
    element("td", {}, ...prose(/** @type {any} */ (it).description))));
  return element("section", { class: "api-route" },
    element("h3", {}, name),
    element("p", {}, ...prose(schema.description), schema.enum ? ` ${schema.enum.join(", ")}` : ""),
    fields.length > 0 ? listing("fields", ["Field", "Type", "Meaning"], fields) : null);
}

const page = byId("routes");
try {
  const document_ = await json("/api/v1/openapi.json");
  byId("about").replaceChildren(...prose(document_.info?.description));
  const routes = Object.entries(document_.paths ?? {}).flatMap(([path, verbs]) => Object.entries(/** @type {any} */ (verbs)).map(([verb, route]) => shownRoute(path, verb, route)));
  page.replaceChildren(...routes);
  byId("types").replaceChildren(...Object.entries(document_.components?.schemas ?? {}).map(shownType));
} catch {
  page.textContent = "The document cannot be read now.";
}
