//! Colours and redrawing, for a terminal only. The text itself is the same everywhere. Pure.

/// Green, bold red, yellow, bold; and back (ECMA-48, SGR).
pub(crate) const GREEN: &str = "\x1b[32m";
pub(crate) const RED: &str = "\x1b[1;31m";
pub(crate) const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// States in a column of a table that a person must see.
const BAD_STATES: [&str; 6] = ["stale", "missing", "down", "stopped", "failing", "low"];

/// Columns are at least so far apart.
const BETWEEN_COLUMNS: &str = "  ";

/// The text with colours: bad states in tables, critical and warning in lists, titles of lists.
pub(crate) fn painted(text: &str) -> String {
    text.split_inclusive('\n').map(painted_line).collect()
}

fn painted_line(line: &str) -> String {
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    let painted = if let Some(rest) = line.strip_prefix("- critical:") {
        format!("- {RED}critical:{PLAIN}{rest}")
    } else if let Some(rest) = line.strip_prefix("- warning:") {
        format!("- {YELLOW}warning:{PLAIN}{rest}")
    } else if line.starts_with(['-', ' ']) {
        line.to_owned()
    } else if line.ends_with(':') {
        format!("{BOLD}{line}{PLAIN}")
    } else {
        painted_row(line)
    };
    painted + end
}

/// A row of a table: its bad state, which is not in the first column.
fn painted_row(line: &str) -> String {
    let mut columns = line.split(BETWEEN_COLUMNS);
    let first = columns.next().unwrap_or_default().to_owned();
    columns.fold(first, |row, column| {
        let word = column.trim();
        if BAD_STATES.contains(&word) {
            let padding = column.strip_suffix(word).unwrap_or_default();
            return format!("{row}{BETWEEN_COLUMNS}{padding}{RED}{word}{PLAIN}");
        }
        format!("{row}{BETWEEN_COLUMNS}{column}")
    })
}

/// A word in a colour.
pub(crate) fn in_colour(colour: &str, word: &str) -> String {
    format!("{colour}{word}{PLAIN}")
}

/// The text in the place of the last one: nothing is cleared before it is written, so it does not flicker. What does not fit on the
/// screen is left out, and said so.
pub(crate) fn redrawn(text: &str, rows: usize, columns: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let fits = lines.len() < rows;
    let shown = if fits { lines.len() } else { rows.saturating_sub(2) };
    // Cursor to the first row; the rest of each line, and of the screen, is erased (ECMA-48: CUP, EL, ED).
    let mut frame = "\x1b[H".to_owned();
    for line in lines.iter().take(shown) {
        frame += &cut(line, columns);
        frame += "\x1b[K\n";
    }
    if !fits {
        let hidden = lines.len() - shown;
        let end = format!("… {hidden} more lines: make the window higher, or run it without --watch\x1b[K\n");
        frame += &end;
    }
    frame + "\x1b[J"
}

/// The line in so many columns: one that goes on in the next row would move everything below it. Colours take no column.
fn cut(line: &str, columns: usize) -> String {
    let (mut shown, mut width, mut in_code) = (String::new(), 0, false);
    for character in line.chars() {
        match character {
            '\x1b' => in_code = true,
            'm' if in_code => in_code = false,
            _ if in_code => {}
            _ if width == columns => continue,
            _ => {
                shown.push(character);
                width += 1;
                continue;
            }
        }
        shown.push(character);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_states_severities_and_titles_have_a_colour_and_the_text_stays() {
        let text = "source        group  state   line\n\
                    down          web-1  active  1 s\n\
                    198.51.100.1  web-1  stale   -\n\
                    \nincidents:\n- critical: stale 198.51.100.1\n  stale\n- warning: late edw\n";
        let shown = painted(text);
        for part in [
            "198.51.100.1  web-1  \x1b[1;31mstale\x1b[0m   -\n",
            "\ndown          web-1  active  1 s\n",
            "\x1b[1mincidents:\x1b[0m\n",
            "- \x1b[1;31mcritical:\x1b[0m stale 198.51.100.1\n  stale\n",
            "- \x1b[33mwarning:\x1b[0m late edw\n",
        ] {
            assert!(shown.contains(part), "{part:?} in {shown:?}");
        }
        let mut plain = shown;
        for code in [RED, YELLOW, BOLD, PLAIN] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, text);
    }

    #[test]
    fn a_text_is_redrawn_in_place_and_a_long_one_says_what_is_left_out() {
        assert_eq!(redrawn("a\nb\n", 10, 80), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        let long = "line\n".repeat(30);
        let shown = redrawn(&long, 10, 80);
        assert_eq!(shown.matches('\n').count(), 9, "the cursor stays on the screen");
        assert!(shown.contains("… 22 more lines"), "{shown}");
        let wide = format!("{RED}{}{PLAIN}\n", "x".repeat(20));
        let cut = format!("\x1b[H{RED}{}{PLAIN}\x1b[K\n\x1b[J", "x".repeat(8));
        assert_eq!(redrawn(&wide, 10, 8), cut, "no row goes on in the next one");
    }
}
