//! Tables with aligned columns.

use std::fmt::{self, Write};

use crate::escape_controls;

/// Rows under a row of titles.
#[derive(Debug, Clone)]
pub struct Table<const N: usize> {
    is_right: [bool; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with these titles and no row yet. A title that begins with `>` makes its column right-aligned, as numbers
    /// are.
    pub fn new(titles: [&str; N]) -> Self {
        Self {
            is_right: titles.map(|title| title.starts_with('>')),
            rows: vec![titles.map(|title| title.trim_start_matches('>').to_owned())],
        }
    }

    /// Adds a row. A name in it may be of a file, which can have any: control characters are escaped.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.map(|cell| escape_controls(&cell).into_owned()));
    }

    /// The table after an empty line; nothing if it has no row.
    pub fn section(&self) -> String {
        if self.rows.len() > 1 {
            format!("\n{self}")
        } else {
            String::new()
        }
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: [usize; N] = std::array::from_fn(|column| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        });
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, is_right), width) in row.iter().zip(self.is_right).zip(widths) {
                if is_right {
                    write!(line, "{cell:>width$}  ")?;
                } else {
                    write!(line, "{cell:<width$}  ")?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["source", ">lines", "note"]);
        assert_eq!(table.section(), "");
        table.row(["127.0.0.11".to_owned(), "7".to_owned(), String::new()]);
        table.row(["b".to_owned(), "1,234,567".to_owned(), "late".to_owned()]);
        assert_eq!(
            table.section(),
            "\nsource          lines  note\n127.0.0.11          7\nb           1,234,567  late\n"
        );
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let mut table = Table::new(["file", "note"]);
        table.row(["a\u{1b}[2J\n".to_owned(), "x".to_owned()]);
        assert_eq!(table.to_string(), "file          note\na\\u{1b}[2J\\n  x\n");
    }
}
