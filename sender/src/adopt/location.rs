//! Decides in which file of a log an offset counts. Pure.
//!
//! The old shipper reads the live file, writes its offset after each chunk, and sets it to 0 after a rotation. So the offset
//! counts in the file that was live when it was last written. That is the newest file which had so many bytes by then: the line
//! before the offset is not later than the offset's time. In a file that was begun after a rotation that the shipper did
//! not see, all lines are later.

/// What is known of a file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileFacts {
    /// Bytes of text.
    pub(super) size: u64,
    /// Its last change, in seconds since 1970. Compressors keep it.
    pub(super) modified: i64,
    /// The time in the first line that has one, with year and zone.
    pub(super) first_time: Option<i64>,
    /// The time in the last line before the offset that has one, with year and zone; `None` if the file is shorter.
    pub(super) time_before: Option<i64>,
}

/// How the file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// It is the newest file in which the line before the offset is not later than the offset file.
    LineTime,
    /// It ends at the offset.
    Size,
    /// The lines have no times with year and zone: it is the only file that can have been live then.
    FileTime,
    /// The offset is 0, and it is the file that was live then.
    Zero,
    /// It was named.
    Named,
}

/// The file in which the offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResumeLocation {
    pub(super) index: usize,
    pub(super) found_by: FoundBy,
}

/// Why no file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFound {
    /// The log has no file.
    NoFile,
    /// No file had so many bytes by then.
    Gone,
    /// The file that was live then has fewer bytes now.
    TooShort(u64),
    /// The lines have no times with year and zone, and several files can be the one.
    Unclear,
}

/// Finds the file among those of the log, which come oldest first, the live one last.
pub(super) fn find(files: &[FileFacts], offset: u64, written_at: i64) -> Result<ResumeLocation, NotFound> {
    if files.is_empty() {
        return Err(NotFound::NoFile);
    }
    if offset == 0 {
        return Ok(begun(files, written_at));
    }
    let had = |file: &FileFacts| file.time_before.is_some_and(|time| time <= written_at);
    let is_untimed = |file: &FileFacts| file.time_before.is_none() && file.size >= offset;
    if let Some(index) = files.iter().rposition(had) {
        if files.iter().skip(index + 1).any(is_untimed) {
            return Err(NotFound::Unclear);
        }
        return Ok(ResumeLocation {
            index,
            found_by: FoundBy::LineTime,
        });
    }
    // Lines without such times. A file that ended there already was read to its end.
    let ends_there = |file: &FileFacts| file.size == offset && file.modified <= written_at;
    if let Some(index) = files
        .iter()
        .rposition(|file| file.time_before.is_none() && ends_there(file))
    {
        return Ok(ResumeLocation {
            index,
            found_by: FoundBy::Size,
        });
    }
    let live_then = files.iter().position(|file| file.modified > written_at);
    let (index, file) = live_then
        .and_then(|index| Some((index, files.get(index)?)))
        .ok_or(NotFound::Gone)?;
    // The other shipper may have been in the middle of a file that was rotated before.
    let may_be_older = |file: &FileFacts| is_untimed(file) && file.size > offset;
    match file {
        // It has lines with times, all of them later.
        FileFacts {
            time_before: Some(_), ..
        } => Err(NotFound::Gone),
        _ if files.iter().take(index).any(may_be_older) => Err(NotFound::Unclear),
        file if file.size >= offset => Ok(ResumeLocation {
            index,
            found_by: FoundBy::FileTime,
        }),
        file => Err(NotFound::TooShort(file.size)),
    }
}

/// The offset 0: nothing was read of the file that was live then. If that is the newest one which had lines by then, and it was
/// not changed later, it was rotated, and the 0 is of the next one.
fn begun(files: &[FileFacts], written_at: i64) -> ResumeLocation {
    let last = files.len() - 1;
    let had_lines = |file: &FileFacts| file.first_time.unwrap_or(file.modified) <= written_at;
    let index = match files.iter().rposition(had_lines) {
        None => 0,
        Some(index) => {
            let was_rotated = files.get(index).is_some_and(|file| file.modified <= written_at);
            if was_rotated { (index + 1).min(last) } else { index }
        }
    };
    ResumeLocation {
        index,
        found_by: FoundBy::Zero,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with lines at these times; one line is 10 bytes.
    fn timed(times: &[i64], offset: u64) -> FileFacts {
        let size = 10 * times.len() as u64;
        let line = usize::try_from(offset.div_ceil(10)).expect("small");
        let before = line.checked_sub(1).and_then(|line| times.get(line));
        FileFacts {
            size,
            modified: times.last().copied().unwrap_or(0),
            first_time: times.first().copied(),
            time_before: before.copied().filter(|_| size >= offset),
        }
    }

    fn untimed(size: u64, modified: i64) -> FileFacts {
        FileFacts {
            size,
            modified,
            first_time: None,
            time_before: None,
        }
    }

    fn index(files: &[FileFacts], offset: u64, written_at: i64) -> Result<usize, NotFound> {
        find(files, offset, written_at).map(|location| location.index)
    }

    #[test]
    fn the_file_that_was_live_then_is_found_by_the_times_of_its_lines() {
        let check = |case: &str, times: &[&[i64]], offset, written_at, expected| {
            let files: Vec<_> = times.iter().map(|times| timed(times, offset)).collect();
            assert_eq!(index(&files, offset, written_at), expected, "{case}");
        };
        check("not rotated", &[&[1, 2], &[3, 4, 5]], 20, 4, Ok(1));
        check("rotated since", &[&[1, 2, 6], &[7, 8, 9]], 20, 4, Ok(0));
        check(
            "rotated twice since",
            &[&[1, 2, 6], &[7, 8, 9], &[10, 11]],
            20,
            4,
            Ok(0),
        );
        check(
            "rotated at once, read to its end",
            &[&[1, 2], &[7, 8, 9]],
            20,
            4,
            Ok(0),
        );
        check("inside a line", &[&[1, 2, 6], &[7, 8, 9]], 15, 4, Ok(0));
        check("its file is gone", &[&[7, 8, 9]], 20, 4, Err(NotFound::Gone));
        check(
            "shorter than that",
            &[&[1, 2, 6]],
            50,
            4,
            Err(NotFound::TooShort(30)),
        );
        check("no file", &[], 20, 4, Err(NotFound::NoFile));
    }

    #[test]
    fn zero_is_the_beginning_of_the_file_that_was_live_then() {
        let check = |case: &str, times: &[&[i64]], written_at, expected| {
            let files: Vec<_> = times.iter().map(|times| timed(times, 0)).collect();
            assert_eq!(index(&files, 0, written_at), Ok(expected), "{case}");
        };
        check("rotated, and nothing new yet", &[&[1, 2], &[]], 4, 1);
        check("rotated, lines came later", &[&[1, 2], &[5, 6]], 4, 1);
        check(
            "rotated, its first lines were not taken",
            &[&[1, 2], &[3, 9]],
            4,
            1,
        );
        check("rotated twice, once before it", &[&[1, 2], &[5, 6], &[7]], 4, 1);
        check("it began with that file", &[&[3, 6], &[7]], 4, 0);
        check("everything is later", &[&[5], &[6]], 4, 0);
    }

    #[test]
    fn lines_without_times_are_found_by_the_files() {
        for (case, files, expected) in [
            ("not rotated", vec![untimed(9, 2), untimed(40, 9)], Ok(1)),
            (
                "perhaps the older one was not read to its end",
                vec![untimed(50, 2), untimed(40, 9)],
                Err(NotFound::Unclear),
            ),
            ("rotated since", vec![untimed(50, 8), untimed(40, 9)], Ok(0)),
            ("read to its end", vec![untimed(20, 4), untimed(40, 9)], Ok(0)),
            (
                "read to its end, not rotated",
                vec![untimed(9, 1), untimed(20, 4)],
                Ok(1),
            ),
            (
                "shortened",
                vec![untimed(9, 2), untimed(10, 9)],
                Err(NotFound::TooShort(10)),
            ),
            (
                "nothing since, and no end there",
                vec![untimed(50, 2)],
                Err(NotFound::Gone),
            ),
        ] {
            assert_eq!(index(&files, 20, 4), expected, "{case}");
        }
    }
}
