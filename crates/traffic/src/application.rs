//! The records of applications: a level, a service and a message, as lines of JSON, text or LTSV.

use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::level_mix::LevelMix;
use crate::line::ID_DIGITS;
use crate::mix::{DEBUG_MESSAGES, ERROR_MESSAGES, INFO_MESSAGES, SERVICES, WARN_MESSAGES};
use crate::random::Random;

/// How a record is written as a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// `{"timestamp": …, "level": …, "service": …, "message": …}`.
    Json,
    /// `2025-10-23 14:32:15 INFO [payment-service] Payment completed`. The time is UTC: the notation has no zone.
    Text,
    /// `time:…\tlevel:…\tservice:…\tmessage:…` (<http://ltsv.org/>).
    Ltsv,
}

/// Settings for the records of one application.
#[derive(Debug, Clone)]
pub struct ApplicationOptions {
    /// The same seed gives the same records.
    pub seed: u64,
    /// Gives each record the id `NAME-NUMBER`, numbered from 0.
    pub ids: Option<String>,
    /// How they are written.
    pub format: RecordFormat,
    /// How often each level comes.
    pub levels: LevelMix,
    /// The time zone of the lines, where the notation names it.
    pub zone: TimeZone,
}

/// What an application has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationRecord {
    /// `INFO`, or another level of the mix.
    pub level: String,
    /// Such as `payment-service`.
    pub service: &'static str,
    /// One line.
    pub message: String,
    /// `NAME-NUMBER`, if ids are wanted.
    pub id: Option<String>,
}

/// The records of one application.
#[derive(Debug, Clone)]
pub struct ApplicationTraffic {
    options: ApplicationOptions,
    random: Random,
    records: u64,
}

impl ApplicationTraffic {
    /// The records that `options` describe, from the first.
    pub fn new(options: ApplicationOptions) -> Self {
        let random = Random::new(options.seed);
        Self {
            options,
            random,
            records: 0,
        }
    }

    /// The next record.
    pub fn record(&mut self) -> ApplicationRecord {
        let level = self.options.levels.pick(&mut self.random).to_owned();
        let service = self.random.pick(&SERVICES);
        let template = match level.as_str() {
            "DEBUG" | "TRACE" => self.random.pick(&DEBUG_MESSAGES),
            "WARN" | "WARNING" => self.random.pick(&WARN_MESSAGES),
            "ERROR" | "CRITICAL" | "FATAL" => self.random.pick(&ERROR_MESSAGES),
            _ => self.random.pick(&INFO_MESSAGES),
        };
        let mut message = String::new();
        for (number, text) in template.split('#').enumerate() {
            if number > 0 {
                // A String takes everything.
                let _ = write!(message, "{}", self.random.below(100_000));
            }
            message.push_str(text);
        }
        let number = self.records;
        self.records += 1;
        let name = self.options.ids.as_ref();
        let id = name.map(|name| format!("{name}-{number:0ID_DIGITS$}"));
        ApplicationRecord {
            level,
            service,
            message,
            id,
        }
    }

    /// Appends the next record, written at `at`, to `out` as a line.
    #[allow(clippy::missing_panics_doc, reason = "a Vec takes everything")]
    pub fn line(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        let record = self.record();
        self.write(&record, at, out).expect("a Vec takes everything");
    }

    /// Appends `record` as a line. No text of a record needs an escape in any of the formats.
    pub fn write(&self, record: &ApplicationRecord, at: Timestamp, out: &mut Vec<u8>) -> std::io::Result<()> {
        let ApplicationRecord {
            level,
            service,
            message,
            id,
        } = record;
        match self.options.format {
            RecordFormat::Json => {
                let time = self.zoned(at);
                write!(
                    out,
                    r#"{{"timestamp":"{time}","level":"{level}","service":"{service}","message":"{message}""#
                )?;
                if let Some(id) = id {
                    write!(out, r#","id":"{id}""#)?;
                }
                out.extend_from_slice(b"}\n");
            }
            RecordFormat::Text => {
                let time = at.strftime("%Y-%m-%d %H:%M:%S");
                write!(out, "{time} {level} [{service}] {message}")?;
                if let Some(id) = id {
                    write!(out, " id={id}")?;
                }
                out.push(b'\n');
            }
            RecordFormat::Ltsv => {
                let time = self.zoned(at);
                write!(
                    out,
                    "time:{time}\tlevel:{level}\tservice:{service}\tmessage:{message}"
                )?;
                if let Some(id) = id {
                    write!(out, "\tid:{id}")?;
                }
                out.push(b'\n');
            }
        }
        Ok(())
    }

    fn zoned(&self, at: Timestamp) -> impl std::fmt::Display {
        let zone = self.options.zone.clone();
        at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id_in;

    fn lines(format: RecordFormat, seed: u64) -> Vec<String> {
        let mut traffic = ApplicationTraffic::new(ApplicationOptions {
            seed,
            ids: Some("shop-1".to_owned()),
            format,
            levels: LevelMix::default(),
            zone: TimeZone::fixed(jiff::tz::offset(6)),
        });
        let mut line = |_| {
            let mut out = Vec::new();
            let at = Timestamp::from_second(1_795_230_000).expect("in range");
            traffic.line(at, &mut out);
            String::from_utf8(out).expect("text")
        };
        (0..200).map(&mut line).collect()
    }

    #[test]
    fn first_record_of_a_seed_never_changes() {
        for (format, expected) in [
            (
                RecordFormat::Json,
                "{\"timestamp\":\"2026-11-21T09:00:00+06:00\",\"level\":\"INFO\",\"service\":\"SERVICE\",\"message\":\"MESSAGE\",\
                 \"id\":\"shop-1-000000000000\"}\n",
            ),
            (
                RecordFormat::Text,
                "2026-11-21 03:00:00 INFO [SERVICE] MESSAGE id=shop-1-000000000000\n",
            ),
            (
                RecordFormat::Ltsv,
                "time:2026-11-21T09:00:00+06:00\tlevel:INFO\tservice:SERVICE\tmessage:MESSAGE\tid:shop-1-000000000000\n",
            ),
        ] {
            let expected = expected
                .replace("SERVICE", "payment-service")
                .replace("MESSAGE", "Request 58293 answered in 45244 ms");
            assert_eq!(lines(format, 7)[0], expected);
        }
    }

    #[test]
    fn same_seed_gives_the_same_records_and_each_line_has_its_id() {
        for format in [RecordFormat::Json, RecordFormat::Text, RecordFormat::Ltsv] {
            let all = lines(format, 1);
            assert_eq!(all, lines(format, 1));
            assert_ne!(all, lines(format, 2));
            let ids = all.iter().filter_map(|line| id_in(line.as_bytes()));
            assert!(
                ids.eq((0..200).map(|number| (&b"shop-1"[..], number))),
                "{format:?}"
            );
            assert!(all.iter().all(|line| line.matches('\n').count() == 1));
        }
    }
}
