//! Reads the fields of a batch's name, by the template that made the name.
//!
//! Pure. A name gives the local time of its window, not the instant: only the lines give the zone. So the caller takes
//! the window from the lines, makes the name again from it, and compares.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use logferry_config::{NameField, NamePiece, NameTemplate, WindowLength};
use logferry_ledger::Window;
use logferry_protocol::names::{GroupName, LogName, SourceId};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NameFields {
    pub(crate) log: Option<LogName>,
    pub(crate) group: Option<GroupName>,
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    hour: Option<i8>,
    /// The window: its first second in the hour, and its length in seconds.
    window: Option<(u32, u32)>,
}

impl NameFields {
    /// Reads the name of a window's first part. `None`: the template makes no such name for that source.
    pub(crate) fn read(template: &NameTemplate, source: &SourceId, name: &str) -> Option<Self> {
        let pieces: Vec<&NamePiece> = template.pieces().collect();
        fit(&pieces, name, &source.file_label(), &Self::default())
    }

    pub(crate) fn length(&self) -> Option<WindowLength> {
        let (_, seconds) = self.window?;
        WindowLength::try_from(Duration::from_secs(seconds.into())).ok()
    }

    /// The window, if its local time is UTC.
    pub(crate) fn window_in_utc(&self) -> Option<Window> {
        let (first, seconds) = self.window?;
        let hour = DateTime::new(self.year?, self.month?, self.day?, self.hour?, 0, 0, 0).ok()?;
        let start = Offset::UTC.to_timestamp(hour).ok()?.as_second() + i64::from(first);
        Some(Window {
            start,
            seconds,
            utc_offset: 0,
        })
    }

    /// These fields and one more. `None`: the text is no such field, or differs from the same field before.
    fn with(&self, field: NameField, text: &str) -> Option<Self> {
        let mut fields = self.clone();
        match field {
            NameField::HourStamp => {
                set(&mut fields.year, 2000 + number::<i16>(text.get(..2)?)?)?;
                set(&mut fields.month, number(text.get(2..4)?)?)?;
                set(&mut fields.day, number(text.get(4..6)?)?)?;
                set(&mut fields.hour, number(text.get(6..)?)?)?;
            }
            NameField::Year => fields.year = Some(number(text)?),
            NameField::Month => set(&mut fields.month, number(text)?)?,
            NameField::Day => set(&mut fields.day, number(text)?)?,
            NameField::Hour => set(&mut fields.hour, number(text)?)?,
            NameField::Window => set(&mut fields.window, window(text)?)?,
            NameField::Log => set(&mut fields.log, text.parse().ok()?)?,
            NameField::Group => set(&mut fields.group, text.parse().ok()?)?,
            NameField::Source => {}
            // Only names at destinations have this field.
            NameField::Batch => return None,
        }
        Some(fields)
    }
}

fn fit(pieces: &[&NamePiece], rest: &str, source: &str, fields: &NameFields) -> Option<NameFields> {
    let Some((piece, later)) = pieces.split_first() else {
        return rest.is_empty().then(|| fields.clone());
    };
    let match_field = |len: usize, field: NameField| {
        let (text, rest) = rest.split_at_checked(len)?;
        fit(later, rest, source, &fields.with(field, text)?)
    };
    match piece {
        NamePiece::Literal(text) => fit(later, rest.strip_prefix(text.as_str())?, source, fields),
        NamePiece::Field(NameField::Source) => fit(later, rest.strip_prefix(source)?, source, fields),
        NamePiece::Field(field @ NameField::HourStamp) => match_field(8, *field),
        NamePiece::Field(field @ NameField::Year) => match_field(4, *field),
        NamePiece::Field(field @ (NameField::Month | NameField::Day | NameField::Hour)) => {
            match_field(2, *field)
        }
        NamePiece::Field(field @ NameField::Window) => {
            match_field(9, *field).or_else(|| match_field(5, *field))
        }
        NamePiece::Field(field @ (NameField::Log | NameField::Group)) => {
            (1..=rest.len()).rev().find_map(|len| match_field(len, *field))
        }
        NamePiece::Field(NameField::Batch) => None,
    }
}

/// Sets a field. `None`: another value was found for it before.
fn set<T: PartialEq>(field: &mut Option<T>, found: T) -> Option<()> {
    let is_same = field.as_ref().is_none_or(|before| *before == found);
    *field = Some(found);
    is_same.then_some(())
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Reads `20-39` (minutes) or `0010-0019` (minutes and seconds) as first second and length.
fn window(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-')?;
    let second = |text: &str| Some(number::<u32>(text.get(..2)?)? * 60 + number::<u32>(text.get(2..)?)?);
    let (first, end) = match (first.len(), last.len()) {
        (2, 2) => (number::<u32>(first)? * 60, (number::<u32>(last)? + 1) * 60),
        (4, 4) => (second(first)?, second(last)? + 1),
        _ => return None,
    };
    Some((first, end.checked_sub(first)?))
}

#[cfg(test)]
mod tests {
    use logferry_time_windows::{LineTime, batch_name, window_of};
    use proptest::prelude::*;

    use super::*;

    const TEMPLATES: [&str; 4] = [
        "accessLog_{yymmddHH}_{window}_{source}",
        "{log}.{yyyy}{mm}{dd}-{HH}.{window}.{group}.{source}",
        "{source}{window}{yymmddHH}{log}",
        "{group}{log}_{HH}_{yymmddHH}_{window}_{source}",
    ];

    #[test]
    fn name_that_the_template_cannot_make_is_not_read() {
        let template = NameTemplate::parse(TEMPLATES[0]).expect("valid");
        let source = "198.51.100.44".parse().expect("valid");
        let read = |name| NameFields::read(&template, &source, name);
        assert!(read("accessLog_26112108_20-39_198-51-100-44").is_some());
        for name in [
            "",
            "accessLog_26112108_20-39_198-51-100-45",
            "accessLog_26112108_20-39_198-51-100-44.2",
            "accessLog_26112108_2-39_198-51-100-44",
            "accessLog_+6112108_20-39_198-51-100-44",
            "accessLog_2611210é_20-39_198-51-100-44",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
        let odd = read("accessLog_26133199_50-10_198-51-100-44");
        assert_eq!(odd, None, "it ends before it begins");
        let odd = read("accessLog_26133199_00-06_198-51-100-44").expect("digits");
        assert_eq!((odd.window_in_utc(), odd.length()), (None, None));
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(
            unix in 946_684_800_i64..4_102_444_800,
            quarter in -60_i32..60,
            seconds in prop::sample::select(vec![1_u64, 10, 90, 60, 300, 1200, 3600]),
            template in prop::sample::select(TEMPLATES.to_vec()),
            log in "[a-z0-9]([a-z0-9._-]{0,9})",
            group in "[a-z0-9]([a-z0-9._-]{0,9})",
        ) {
            let template = NameTemplate::parse(template).expect("valid");
            let length = WindowLength::try_from(Duration::from_secs(seconds)).expect("divides an hour");
            let window = window_of(LineTime { unix, utc_offset: quarter * 900 }, length);
            let source = "2001:db8::1".parse().expect("valid");
            let (log, group): (LogName, GroupName) = (log.parse().expect("valid"), group.parse().expect("valid"));
            let written = batch_name(&template, window, &source, &group, Some(&log));
            let name = NameFields::read(&template, &source, &written).expect("its own name");
            prop_assert_eq!(name.length(), Some(length));
            // Where two fields touch, more than one split gives the name. The split that was found must give it.
            let (log, group) = (name.log.as_ref(), name.group.as_ref().unwrap_or(&group));
            prop_assert_eq!(batch_name(&template, window, &source, group, log), written.clone());
            let local = name.window_in_utc().expect("a date");
            prop_assert_eq!(local.start, window.start + i64::from(window.utc_offset));
            prop_assert_eq!(batch_name(&template, local, &source, group, log), written);
        }
    }
}
