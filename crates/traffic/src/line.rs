//! Lines in nginx's combined format, one after another.

use std::io::Write;
use std::num::NonZeroU32;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::mix::{AGENTS, PAGES, Page, PathSuffix, REFERERS, STATUSES};
use crate::random::Random;

/// Digits of the number in a line's id: enough for years, and the same width for every line.
pub(crate) const ID_DIGITS: usize = 12;

const VISITORS: u32 = 1 << 16;

/// Settings for the lines of one log.
#[derive(Debug, Clone)]
pub struct TrafficOptions {
    /// The same seed gives the same lines.
    pub seed: u64,
    /// Puts `id=NAME-NUMBER` into the query of each request, numbered from 0, so that a test finds what is lost or
    /// doubled. The name must be unique among the logs that are looked at together.
    pub ids: Option<String>,
    /// One line in this many is a load balancer's health check, which the default configuration excludes. Health
    /// checks have no id.
    pub health_every: Option<NonZeroU32>,
    /// The time zone of the lines; nginx uses the host's.
    pub zone: TimeZone,
}

/// Requests of seed 1 without ids or health checks, in UTC.
impl Default for TrafficOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            ids: None,
            health_every: None,
            zone: TimeZone::UTC,
        }
    }
}

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// A visitor's request.
    Request,
    /// A health check.
    HealthCheck,
}

/// A log's lines.
#[derive(Debug, Clone)]
pub struct Traffic {
    options: TrafficOptions,
    random: Random,
    lines: u64,
    requests: u64,
    time: CachedTime,
}

impl Traffic {
    /// The lines that `options` describe, from the first.
    pub fn new(options: TrafficOptions) -> Self {
        let random = Random::new(options.seed);
        Self {
            options,
            random,
            lines: 0,
            requests: 0,
            time: CachedTime::default(),
        }
    }

    /// Appends the next line, written at `at`, to `out`.
    pub fn line(&mut self, at: Timestamp, out: &mut Vec<u8>) -> LineKind {
        self.time.set(at, &self.options.zone);
        self.lines += 1;
        match self.options.health_every {
            Some(every) if self.lines.is_multiple_of(u64::from(every.get())) => {
                self.health_check(out);
                LineKind::HealthCheck
            }
            _ => {
                self.request(out);
                self.requests += 1;
                LineKind::Request
            }
        }
    }

    fn health_check(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"10.0.0.9 - - [");
        out.extend_from_slice(&self.time.text);
        out.extend(b"] \"GET /health.php HTTP/1.0\" 200 15 \"-\" \"nginx/1.28.0 (health check)\"\n");
    }

    fn request(&mut self, out: &mut Vec<u8>) {
        let page = self.random.pick(&PAGES);
        let visitor = self.random.below(VISITORS);
        push_address(out, visitor);
        out.extend_from_slice(b" - - [");
        out.extend_from_slice(&self.time.text);
        out.extend_from_slice(b"] \"");
        self.target(page, out);
        out.extend_from_slice(b" HTTP/1.1\" ");
        out.extend_from_slice(self.random.pick(&STATUSES).as_bytes());
        out.push(b' ');
        push_number(out, self.random.below(page.size_max).into(), 1);
        out.extend_from_slice(b" \"");
        out.extend_from_slice(self.random.pick(&REFERERS).as_bytes());
        out.extend_from_slice(b"\" \"");
        // A visitor keeps the browser, so it is drawn from the address.
        out.extend_from_slice(AGENTS[visitor as usize % AGENTS.len()].as_bytes());
        out.extend_from_slice(b"\"\n");
    }

    fn target(&mut self, page: Page, out: &mut Vec<u8>) {
        out.extend_from_slice(page.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(page.path.as_bytes());
        let mut joint = b'?';
        match page.suffix {
            PathSuffix::None => {}
            PathSuffix::Number => push_number(out, self.random.below(100_000).into(), 1),
            PathSuffix::Query => {
                out.extend_from_slice(b"?page=");
                push_number(out, self.random.below(40).into(), 1);
                out.extend_from_slice(b"&sid=");
                push_hex(out, self.random.next());
                joint = b'&';
            }
        }
        if let Some(name) = &self.options.ids {
            out.push(joint);
            out.extend_from_slice(b"id=");
            out.extend_from_slice(name.as_bytes());
            out.push(b'-');
            push_number(out, self.requests, ID_DIGITS);
        }
    }
}

/// What stands before the id in a line: of a request, of JSON, of text and of LTSV.
const ID_KEYS: [&[u8]; 5] = [b"?id=", b"&id=", b"\"id\":\"", b" id=", b"\tid:"];

/// The name and number of the id in a line, where it has one.
pub fn id_in(line: &[u8]) -> Option<(&[u8], u64)> {
    ID_KEYS.into_iter().find_map(|key| {
        let start = line.windows(key.len()).position(|part| part == key)?;
        id(line.get(start + key.len()..)?)
    })
}

/// The id that a text begins with.
fn id(text: &[u8]) -> Option<(&[u8], u64)> {
    let id = text.split(|byte| b" \"\t\n".contains(byte)).next()?;
    let name_len = id.len().checked_sub(ID_DIGITS + 1)?;
    let (name, number) = id.split_at_checked(name_len)?;
    let digits = std::str::from_utf8(number.strip_prefix(b"-")?).ok()?;
    Some((name, digits.parse().ok()?))
}

/// The time of the current second as nginx writes it, made once per second.
#[derive(Debug, Clone, Default)]
struct CachedTime {
    second: Option<i64>,
    text: Vec<u8>,
}

impl CachedTime {
    fn set(&mut self, at: Timestamp, zone: &TimeZone) {
        let second = at.as_second();
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        self.text.clear();
        let local = at.to_zoned(zone.clone());
        write!(self.text, "{}", local.strftime("%d/%b/%Y:%H:%M:%S %z")).expect("a Vec takes everything");
    }
}

/// An address out of 203.0.0.0/16.
fn push_address(out: &mut Vec<u8>, visitor: u32) {
    out.extend_from_slice(b"203.0.");
    push_number(out, u64::from(visitor >> 8 & 0xff), 1);
    out.push(b'.');
    push_number(out, u64::from(visitor & 0xff), 1);
}

/// A number in decimal, with leading zeros up to `width`.
fn push_number(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).expect("a remainder of ten");
        number /= 10;
    }
    let first = first.min(digits.len().saturating_sub(width));
    out.extend_from_slice(&digits[first..]);
}

fn push_hex(out: &mut Vec<u8>, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits: [u8; 16] = std::array::from_fn(|at| DIGITS[(number >> (60 - 4 * at) & 0xf) as usize]);
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::Offset;

    fn options() -> TrafficOptions {
        TrafficOptions {
            seed: 7,
            ids: Some("web-1".to_owned()),
            health_every: NonZeroU32::new(10),
            zone: TimeZone::fixed(Offset::constant(6)),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lines(options: TrafficOptions, count: usize) -> Vec<(LineKind, String)> {
        let mut traffic = Traffic::new(options);
        let mut line = |_| {
            let mut out = Vec::new();
            let kind = traffic.line(at(1_795_230_000), &mut out);
            (kind, String::from_utf8(out).unwrap())
        };
        (0..count).map(&mut line).collect()
    }

    #[test]
    fn same_seed_and_times_give_the_same_bytes() {
        assert_eq!(lines(options(), 500), lines(options(), 500));
        let other = TrafficOptions { seed: 8, ..options() };
        assert_ne!(lines(options(), 500), lines(other, 500));
    }

    #[test]
    fn first_lines_of_a_seed_never_change() {
        let start: Vec<String> = lines(options(), 2).into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            start,
            [
                concat!(
                    "203.0.4.76 - - [21/Nov/2026:09:00:00 +0600] ",
                    "\"GET /search?page=36&sid=953aeb70673e29cb&id=web-1-000000000000 HTTP/1.1\" 200 4988 ",
                    "\"https://www.example.com/\" \"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 ",
                    "(KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36\"\n",
                ),
                concat!(
                    "203.0.34.94 - - [21/Nov/2026:09:00:00 +0600] ",
                    "\"GET /catalog/item/41314?id=web-1-000000000001 HTTP/1.1\" 200 28796 ",
                    "\"https://m.example.com/start\" \"curl/8.14.1\"\n",
                ),
            ]
        );
    }

    #[test]
    fn lines_are_whole_and_about_200_bytes() {
        let lines = lines(options(), 2_000);
        for (_, line) in &lines {
            let is_whole = line.ends_with("\"\n") && line.matches('\n').count() == 1;
            assert!(is_whole && line.is_ascii(), "{line:?}");
            assert_eq!(line.matches('"').count(), 6, "{line:?}");
        }
        let average = lines.iter().map(|(_, line)| line.len()).sum::<usize>() / lines.len();
        assert!((180..=240).contains(&average), "{average}");
    }

    #[test]
    fn time_is_written_in_the_zone() {
        let mut traffic = Traffic::new(options());
        let mut out = Vec::new();
        traffic.line(at(1_795_230_000), &mut out);
        traffic.line(at(1_795_230_001), &mut out);
        let text = String::from_utf8(out).unwrap();
        let stamp = |line: &str| Some(line[line.find('[')?..=line.find(']')?].to_owned());
        let stamps: Vec<String> = text.lines().filter_map(stamp).collect();
        assert_eq!(
            stamps,
            ["[21/Nov/2026:09:00:00 +0600]", "[21/Nov/2026:09:00:01 +0600]"]
        );
    }

    #[test]
    fn every_tenth_line_is_a_health_check_the_default_rule_drops() {
        for (number, (kind, line)) in (1..).zip(lines(options(), 100)) {
            let parts = ["/health.php", "nginx/", "health check"];
            let dropped = parts.iter().all(|part| line.contains(part));
            assert_eq!(dropped, number % 10 == 0, "{line}");
            assert_eq!(kind == LineKind::HealthCheck, dropped);
        }
    }

    #[test]
    fn ids_number_the_requests_without_a_gap() {
        let lines = lines(options(), 1_000);
        let ids = lines.iter().filter_map(|(_, line)| id_in(line.as_bytes()));
        assert!(ids.eq((0..900).map(|number| (&b"web-1"[..], number))));
    }

    #[test]
    fn lines_without_an_id_have_none() {
        let without = TrafficOptions {
            ids: None,
            ..options()
        };
        for (_, line) in lines(without, 100) {
            assert_eq!(id_in(line.as_bytes()), None, "{line}");
        }
        for odd in ["", "?id=", "?id=short", "?id=x-00000000000x", "&id=123456789012"] {
            assert_eq!(id_in(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn numbers_are_padded_to_their_width() {
        let shown = |number, width| {
            let mut out = Vec::new();
            push_number(&mut out, number, width);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(0, 1), "0");
        assert_eq!(shown(42, 1), "42");
        assert_eq!(shown(42, 5), "00042");
        assert_eq!(shown(u64::MAX, 12), u64::MAX.to_string());
    }
}
