//! Lists of sentences, for people.

use logferry_text::{Table, wrapped_to};

/// A titled list after an empty line, one item a line or more; nothing if there is no item.
pub(crate) fn list(title: &str, items: impl Iterator<Item = String>, columns: usize) -> String {
    let items: String = items
        .map(|item| wrapped_to(columns, &format!("- {item}")))
        .collect();
    if items.is_empty() {
        return items;
    }
    format!("\n{title}\n{items}")
}

/// The table; the narrow one if it needs more columns than there are.
pub(crate) fn fitting<const N: usize, const M: usize>(
    table: &Table<N>,
    columns: usize,
    narrow: impl FnOnce() -> Table<M>,
) -> String {
    let text = table.to_string();
    let is_too_wide = text.lines().any(|line| line.chars().count() > columns);
    if is_too_wide { narrow().to_string() } else { text }
}

/// The text, or its end in so many characters: of a path the end tells more.
pub(crate) fn last_of(text: &str, length: usize) -> String {
    let more = text.chars().count().saturating_sub(length);
    if more == 0 {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(more + 1)).collect()
}
