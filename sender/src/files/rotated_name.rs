//! The names that rotation gives to a log, for `rotated: auto`.
//!
//! Pure. Rotation appends numbers, dates, times and a few words to the name (`access.log.1`, `-20261128`,
//! `.2026-11-28-08`, `.old`), or puts them before its extension (`access-20261128.log`, `extension` in logrotate(8)).
//! Compression appends its own. Every other name is a neighbour: the log of another site, or a file of another program.

use std::ops::RangeInclusive;

/// Appended by compressors. What cannot be read among them is then held, and somebody is told.
const COMPRESSED: [&str; 11] = [
    "gz", "zst", "xz", "bz2", "lz4", "lzma", "lzo", "Z", "zip", "7z", "br",
];
/// Appended by scripts that keep one old file.
const WORDS: [&str; 5] = ["old", "prev", "previous", "last", "save"];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
/// After a dash, fewer digits are the name of another log: `shop-2` beside `shop`.
const DATE_DIGITS: usize = 6;
/// Digits of the number of a rotated file: dates and times are longer.
const NUMBER_LENGTH: usize = 4;
/// Dates may have only a year.
const YEARS: RangeInclusive<u16> = 1970..=2099;
/// Digits of one number: `20261128080059` has 14.
const NUMBER_DIGITS: usize = 14;

/// Whether rotation makes the file name `name` from `live`.
pub(crate) fn is_rotation_of(live: &str, name: &str) -> bool {
    name.strip_prefix(live).is_some_and(is_suffix) || is_before_extension(live, name)
}

/// The name without what compressors append.
pub(crate) fn without_compression(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((plain, extension)) if !plain.is_empty() && COMPRESSED.contains(&extension) => {
            without_compression(plain)
        }
        _ => name,
    }
}

/// The number that rotation gave to the file, the newest 1 or 0. The parts of a date are none.
pub(crate) fn rotation_number(name: &str) -> Option<u16> {
    let parts: Vec<&str> = name.split_inclusive(['.', '-', '_']).collect();
    let digits = |part: &str| {
        let text = part.trim_end_matches(['.', '-', '_']);
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.to_owned())
    };
    let number = |around: &[&str]| {
        let &[before, part, after] = around else {
            return None;
        };
        let text = digits(part)?;
        let is_alone = digits(before).is_none() && digits(after).is_none();
        let is_between_dots = before.ends_with('.') && (after.is_empty() || part.ends_with('.'));
        let number = (is_alone && is_between_dots).then(|| text.parse().ok())??;
        (text.len() <= NUMBER_LENGTH && !YEARS.contains(&number)).then_some(number)
    };
    let ended: Vec<&str> = parts.into_iter().chain(std::iter::once("")).collect();
    ended.windows(3).rev().find_map(number)
}

/// The names of live logs that could have been rotated to `name`, shortest first.
///
/// A name may have hundreds of separators, so each part is looked at once only.
pub(crate) fn possible_live_names(name: &str) -> Vec<String> {
    let parts = parts_of(name);
    // Whether the name from this part to its end is what rotation appends, or nothing.
    let mut is_appended = vec![true; parts.len() + 1];
    let (mut digits, mut are_valid) = (0, true);
    for (index, part) in parts.iter().enumerate().rev() {
        digits += part.digits;
        are_valid &= part.is_valid;
        is_appended[index] = are_valid && part.may_begin_suffix(digits);
    }
    let mut names = Vec::new();
    for (index, first) in parts.iter().enumerate() {
        let stem = &name[..first.at];
        if is_appended[index] {
            names.push(stem.to_owned());
        }
        // Without what stands before an extension, and without what was appended after it.
        let mut digits = 0;
        for (part, following) in parts[index..].windows(2).zip(index + 2..) {
            let [middle, extension] = part else { break };
            if !middle.is_valid {
                break;
            }
            digits += middle.digits;
            if extension.separator == b'.' && first.may_begin_suffix(digits) && is_appended[following] {
                names.push(format!("{stem}{}", &name[extension.at..extension.end]));
            }
        }
    }
    names
}

/// A separator and the text up to the next one.
struct NamePart {
    at: usize,
    end: usize,
    separator: u8,
    digits: usize,
    /// Rotation or compression may have appended it.
    is_valid: bool,
}

impl NamePart {
    /// Whether the suffix that begins with it, and has so many digits, may be one.
    fn may_begin_suffix(&self, digits: usize) -> bool {
        self.separator == b'.' || digits >= DATE_DIGITS
    }
}

/// The parts after the first one.
fn parts_of(name: &str) -> Vec<NamePart> {
    let separators = name.match_indices(['.', '-', '_']).map(|(at, _)| at);
    let starts: Vec<usize> = separators.filter(|&at| at > 0).collect();
    let ends = starts.iter().skip(1).copied().chain(std::iter::once(name.len()));
    let part = |(&at, end): (&usize, usize)| {
        let text = &name[at + 1..end];
        NamePart {
            at,
            end,
            separator: name.as_bytes()[at],
            digits: text.bytes().filter(u8::is_ascii_digit).count(),
            is_valid: text.split([':', '+', '@']).all(is_part),
        }
    };
    starts.iter().zip(ends).map(part).collect()
}

/// Whether the text is what rotation and compression append.
fn is_suffix(text: &str) -> bool {
    let (Some(separator), Some(rest)) = (text.get(..1), text.get(1..)) else {
        return false;
    };
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    let is_separated = match separator {
        "." => true,
        "-" | "_" => digits >= DATE_DIGITS,
        _ => false,
    };
    is_separated && rest.split(['.', '-', '_', ':', '+', '@']).all(is_part)
}

fn is_part(part: &str) -> bool {
    let is_number = |text: &str| {
        (1..=NUMBER_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    // `20261128T080000Z` (ISO 8601), `28Nov2026`.
    let is_time = |(date, time): (&str, &str)| is_number(date) && is_number(time);
    let without_zone = part.strip_suffix('Z').unwrap_or(part);
    let lower = part.to_ascii_lowercase();
    let is_named_month = MONTHS.iter().any(|month| {
        let around = lower.split_once(month);
        around.is_some_and(|(day, year)| [day, year].iter().all(|text| text.is_empty() || is_number(text)))
    });
    is_number(without_zone)
        || without_zone.split_once('T').is_some_and(is_time)
        || is_named_month
        || COMPRESSED.contains(&part)
        || WORDS.contains(&lower.as_str())
}

fn is_before_extension(live: &str, name: &str) -> bool {
    let Some((stem, extension)) = live.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) else {
        return false;
    };
    let is_split_at = |(at, _): (usize, &str)| {
        let (middle, appended) = (&name[stem.len()..at], &name[at + extension.len() + 1..]);
        is_suffix(middle) && (appended.is_empty() || is_suffix(appended))
    };
    name.starts_with(stem)
        && name
            .match_indices(&format!(".{extension}"))
            .any(|found| found.0 > stem.len() && is_split_at(found))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_rotation_makes_are_rotated_files() {
        for suffix in [
            ".1",
            ".0",
            ".10",
            ".1.gz",
            ".2.zst",
            ".3.bz2",
            ".4.xz",
            ".gz",
            ".gz.1.gz",
            ".old",
            ".old.gz",
            ".prev",
            ".save",
            "-20261128",
            "-20261128.gz",
            "-20261128.1.gz",
            ".20261128",
            "_20261128",
            "-2026-11-28",
            ".2026-11-28-08",
            ".2026-11-28_08:00:00",
            "-20261128-1795852800",
            ".1795852800",
            "-2026112808",
            ".2026-11-28T08:00:00Z",
            "-20261128T080000Z.gz",
            ".2026-11-28T08:00:00+01:00",
            "-28Nov2026",
            ".28-nov-2026",
            "-2026.11.28",
            "-2026-11",
            ".1.20261128.gz",
            ".1.lz4",
            ".2.Z",
        ] {
            assert!(
                is_rotation_of("access.log", &format!("access.log{suffix}")),
                "{suffix}"
            );
        }
        for name in [
            "access-20261128.log",
            "access.1.log",
            "access.1.log.gz",
            "access-2026-11-28.log.gz",
            "access_20261128.log",
            "access-20261128.log.1",
        ] {
            assert!(is_rotation_of("access.log", name), "{name}");
        }
        assert!(is_rotation_of("access.log.gz", "access.log.gz.1.gz"));
    }

    #[test]
    fn neighbours_are_not_rotated_files() {
        for (live, name) in [
            ("example.com", "example.com.au"),
            ("example.com", "example.com-staging"),
            ("example.com", "example.com.au.1"),
            ("site", "site-2"),
            ("site", "site-2.1"),
            ("site", "site_10"),
            ("access.log", "access.log"),
            ("access.log", "access.log~"),
            ("access.log", "access.log.1~"),
            ("access.log", "access.log.1.bak"),
            ("access.log", "access.log."),
            ("access.log", "access.log..1"),
            ("access.log", "access.log.offset"),
            ("access.log", "access.log.html"),
            ("access.log", "access.log.swp"),
            ("access.log", ".access.log.swp"),
            ("access.log", "access.log.1.offset"),
            ("access.log", "access.log.pos"),
            ("access.log", "access.log.lock"),
            ("access.log", "access.log1"),
            ("access.log", "access.log.tmp.1"),
            ("access.log", "access-api.log"),
            ("access.log", "access.api.log.1"),
            ("access.log", "access-2.log"),
            ("access.log", "error.log.1"),
            ("access", "access.log"),
            ("access", "access.log.1"),
        ] {
            assert!(!is_rotation_of(live, name), "{live} {name}");
        }
    }

    #[test]
    fn the_live_names_of_a_rotated_name_are_found() {
        for (name, live) in [
            ("access.log.1.gz", "access.log"),
            ("access-20261128.log.gz", "access.log"),
            ("a-b.c.old", "a-b.c"),
            ("example.com.au-20261128", "example.com.au"),
        ] {
            let names = possible_live_names(name);
            assert!(names.iter().any(|possible| possible == live), "{name}: {names:?}");
        }
        assert!(possible_live_names("access.log").is_empty());
        assert!(possible_live_names("example.com").is_empty());
    }

    #[test]
    fn a_number_is_what_stands_alone_behind_the_name_and_no_part_of_a_date() {
        for (name, number) in [
            ("access.log.2", Some(2)),
            ("access.log.10.gz", Some(10)),
            ("access.3.log.gz", Some(3)),
            ("access.log.2026-11-28", None),
            ("access.log.2026-11-28-08", None),
            ("access.log-20261128.1", None),
            ("access.log.2026.11.28", None),
            ("access.log.2026", None),
            ("access.log.28-nov-2026", None),
            ("access.log", None),
            ("1", None),
        ] {
            assert_eq!(rotation_number(name), number, "{name}");
        }
    }

    #[test]
    fn a_name_with_very_many_parts_is_judged_like_any_other() {
        let numbered = format!("x{}", ".1".repeat(124));
        assert!(possible_live_names(&numbered).contains(&"x".to_owned()));
        assert!(!possible_live_names(&format!("{numbered}~")).contains(&"x".to_owned()));
    }

    proptest! {
        #[test]
        fn all_live_names_that_fit_are_found(name in "[a1]{1,2}([.][a1]{1,2}){0,5}") {
            let found: std::collections::BTreeSet<_> = possible_live_names(&name).into_iter().collect();
            for end in (0..name.len()).filter(|&end| name.as_bytes()[end] == b'.') {
                for start in (end..=name.len()).filter(|&at| at == name.len() || name.as_bytes()[at] == b'.') {
                    for until in (start..=name.len()).filter(|&at| at == name.len() || name.as_bytes()[at] == b'.') {
                        let live = format!("{}{}", &name[..end], &name[start..until]);
                        prop_assert!(found.contains(&live) || !is_rotation_of(&live, &name), "{} {}", live, name);
                    }
                }
            }
        }

        #[test]
        fn any_name_is_judged_and_each_possible_live_name_fits(name in "[a-z.0-9_~é-]{0,20}", live in "[a-z.0-9é-]{0,8}") {
            is_rotation_of(&live, &name);
            for possible in possible_live_names(&name) {
                prop_assert!(is_rotation_of(&possible, &name));
            }
            prop_assert!(!is_rotation_of(&name, &name));
        }
    }
}
