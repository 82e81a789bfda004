//! A table of text that fits 80 columns: long names are cut, then columns that can be spared go. Pure.

use logferry_text::TERMINAL_COLUMNS;

const GAP: usize = 2;

/// A name keeps so many letters before a column is spared for it.
const NAME_MAX: usize = 24;

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct TextColumn {
    pub(crate) title: &'static str,
    /// Columns with a number are spared, the highest first, if the table is too wide; those with 0 stay.
    pub(crate) spare: u8,
    pub(crate) cells: Vec<String>,
}

impl TextColumn {
    pub(crate) fn new(title: &'static str, spare: u8, cells: impl IntoIterator<Item = String>) -> Self {
        Self {
            title,
            spare,
            cells: cells.into_iter().collect(),
        }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.chain([self.title.chars().count()]).max().unwrap_or(0)
    }

    fn is_blank(&self) -> bool {
        self.cells.iter().all(String::is_empty)
    }
}

/// The table. The first column is on the left, the others on the right; the last one too is on the left if it has no title.
pub(crate) fn text_table(mut columns: Vec<TextColumn>) -> String {
    columns.retain(|column| column.spare == 0 || !column.is_blank());
    let total = |columns: &[TextColumn]| {
        let widths: usize = columns.iter().map(TextColumn::width).sum();
        widths + GAP * columns.len().saturating_sub(1)
    };
    if total(&columns) > TERMINAL_COLUMNS
        && let Some(names) = columns.first_mut()
    {
        names.cells.iter_mut().for_each(|name| cut(name, NAME_MAX));
    }
    while total(&columns) > TERMINAL_COLUMNS {
        let spared = columns.iter().map(|column| column.spare).max().unwrap_or(0);
        if spared == 0 {
            break;
        }
        columns.retain(|column| column.spare != spared);
    }
    let excess = total(&columns).saturating_sub(TERMINAL_COLUMNS);
    if let Some(names) = columns.first_mut() {
        let most = names.width().saturating_sub(excess).max(12);
        names.cells.iter_mut().for_each(|name| cut(name, most));
    }
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    let mut text = line(&columns, |column| column.title);
    for row in 0..rows {
        text += &line(&columns, |column| {
            column.cells.get(row).map_or("", String::as_str)
        });
    }
    text
}

/// Cuts a name in its middle: both ends tell names apart.
fn cut(name: &mut String, most: usize) {
    let length = name.chars().count();
    if length > most {
        let head = most / 2;
        let tail = most - head - 1;
        let (start, end): (String, String) = (
            name.chars().take(head).collect(),
            name.chars().skip(length - tail).collect(),
        );
        *name = format!("{start}~{end}");
    }
}

fn line<'a>(columns: &'a [TextColumn], cell: impl Fn(&'a TextColumn) -> &'a str) -> String {
    let padded = |(index, column): (usize, &'a TextColumn)| {
        let width = column.width();
        let is_left = index == 0 || (index + 1 == columns.len() && column.title.is_empty());
        let cell = cell(column);
        if is_left {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    };
    let cells: Vec<_> = columns.iter().enumerate().map(padded).collect();
    cells.join("  ").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_tables_spare_columns_and_then_cut_names() {
        let column = |title, spare, cell: &str| TextColumn::new(title, spare, [cell.to_owned()]);
        let long = "x".repeat(30);
        let small = text_table(vec![
            column("source", 0, "a"),
            column("lines", 0, "7"),
            column("", 1, ""),
        ]);
        assert_eq!(small, "source  lines\na           7\n");
        let wide = text_table(vec![
            column("source", 0, &long),
            column("lines", 0, &long),
            column("bytes", 2, &long),
        ]);
        let cut = format!("{}~{}", "x".repeat(12), "x".repeat(11));
        assert!(wide.ends_with(&format!("\n{cut}  {long}\n")), "{wide}");
        let names = text_table(vec![
            column("source", 0, &"y".repeat(60)),
            column("lines", 0, &long),
        ]);
        assert!(names.lines().all(|line| line.chars().count() <= 80), "{names}");
        assert!(names.contains("y~y"), "{names}");
    }
}
