// Texts that strangers wrote: what of them has an effect is shown as what it is.

/** Control characters, and what turns the direction of text or is not seen; not the tab and the line end. */
const WITH_EFFECT = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * A text with such characters as what they are: `\u{1b}`.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(WITH_EFFECT, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`);
}

/**
 * A condition of a field, as a part of a query that reads it as it is: within quotes, two of them are one, and a star is a character.
 * @param {string} name
 * @param {string} value
 */
export function condition(name, value) {
  return value.includes("*") ? `${name}:${quoted(value)}` : filter(name, value);
}

/**
 * A condition of a field, as a part of a query in which a star stands for any characters.
 * @param {string} name
 * @param {string} value
 */
export function filter(name, value) {
  const isPlain = value !== "" && !/[\s"]/.test(value) && !value.startsWith("//");
  return `${name}:${isPlain ? value : quoted(value)}`;
}

/**
 * A query with this condition as well, if it does not have it already.
 * @param {string} query
 * @param {string} part
 */
export function withCondition(query, part) {
  // A word, or a quoted text with what stands before it; two quotes in it are one.
  const words = query.match(/(?:[^\s"]|"(?:[^"]|"")*"?)+/g) ?? [];
  return words.includes(part) ? query : `${query} ${part}`.trim();
}

/** @param {string} value */
function quoted(value) {
  return `"${value.replaceAll('"', '""')}"`;
}

/**
 * A text as one word of a shell's command. A terminal obeys control characters of what is pasted, so none is in it: bash reads the
 * escapes of `$'…'`.
 * @param {string} text
 */
export function shellWord(text) {
  const control = new RegExp(`${WITH_EFFECT.source}|[\t\n]`, "g");
  if (!control.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = text.replace(/[\\']/g, "\\$&").replace(control, (char) => {
    const code = char.charCodeAt(0);
    // Bash takes `\xNN` as a byte, which is a character below 128 only.
    return code < 0x80 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return `$'${escaped}'`;
}
