use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The records of a connection on which `reads` came, as text with the number of lost bytes.
fn records(framing: Framing, record_max: usize, reads: &[&[u8]]) -> Vec<(Vec<u8>, u64)> {
    let mut framer = Framer::new(framing, record_max);
    let mut records = Vec::new();
    for read in reads {
        framer.push(read, |record| records.push((record.bytes.to_vec(), record.lost)));
        assert!(
            framer.begun.len() <= record_max + 1,
            "more than the limit is kept"
        );
    }
    framer.finish(|record| records.push((record.bytes.to_vec(), record.lost)));
    records
}

fn shown(framing: Framing, record_max: usize, text: &str) -> Vec<(String, u64)> {
    let records = records(framing, record_max, &[text.as_bytes()]);
    let shown = |(bytes, lost)| (String::from_utf8(bytes).expect("whole characters"), lost);
    records.into_iter().map(shown).collect()
}

fn whole(texts: &[&str]) -> Vec<(String, u64)> {
    texts.iter().map(|text| ((*text).to_owned(), 0)).collect()
}

#[test]
fn lines_end_at_newlines_and_the_last_one_at_the_end() {
    let found = shown(Framing::Newline, 100, "a\n\r\n\nb\r\nc\rd\ne");
    assert_eq!(found, whole(&["a", "b", "c\rd", "e"]));
}

#[test]
fn counted_records_may_hold_newlines_and_stand_beside_lines() {
    let text = "6 <1>a\nb<2>line\n4 <3>c5 <4>\nd12 apples\n123456789012 <5>x\n2026-11-29 <6>y\n12\n0 <7>z";
    let expected = [
        "<1>a\nb",
        "<2>line",
        "<3>c",
        "<4>\nd",
        "12 apples",
        "123456789012 <5>x",
        "2026-11-29 <6>y",
        "12",
        "0 <7>z",
    ];
    assert_eq!(shown(Framing::Syslog, 100, text), whole(&expected));
}

#[test]
fn record_over_the_limit_is_cut_and_the_lost_bytes_are_counted() {
    assert_eq!(
        shown(Framing::Newline, 4, "abcd\nabcd\r\nabcde\nabcdefgh\r\nx\n"),
        [("abcd", 0), ("abcd", 0), ("abcd", 1), ("abcd", 4), ("x", 0)]
            .map(|(text, lost)| (text.to_owned(), lost))
    );
    assert_eq!(
        shown(Framing::Syslog, 4, "10 <1>abcdefg4 <2>x"),
        [("<1>a", 6), ("<2>x", 0)].map(|(text, lost)| (text.to_owned(), lost))
    );
}

#[test]
fn cut_leaves_no_half_character() {
    assert_eq!(shown(Framing::Newline, 4, "abcé\n"), [("abc".to_owned(), 2)]);
    assert_eq!(shown(Framing::Newline, 6, "ab€€\n"), [("ab€".to_owned(), 3)]);
    assert_eq!(shown(Framing::Newline, 5, "ab😀\n"), [("ab".to_owned(), 4)]);
}

#[test]
fn counted_record_that_the_client_did_not_finish_is_marked() {
    let found = shown(Framing::Syslog, 100, "9 <1>half");
    assert_eq!(found, [("<1>half".to_owned(), 2)]);
}

#[test]
fn connection_that_ends_in_a_length_loses_no_byte() {
    assert_eq!(shown(Framing::Syslog, 100, "12 "), whole(&["12 "]));
}

/// A record and how its client frames it.
#[derive(Debug, Clone)]
struct Sent {
    bytes: Vec<u8>,
    is_counted: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    (
        any::<bool>(),
        vec(prop_oneof![any::<u8>(), Just(b'x'), Just(b'\r')], 0..60),
    )
        .prop_map(|(is_counted, mut bytes)| {
            if is_counted {
                bytes.insert(0, b'<');
            } else {
                bytes.retain(|byte| *byte != b'\n');
                // What a client sends as a line does not begin like a counted record.
                if bytes.first().is_some_and(u8::is_ascii_digit) {
                    bytes.insert(0, b'-');
                }
            }
            Sent { bytes, is_counted }
        })
}

fn wire(all: &[Sent]) -> Vec<u8> {
    let mut wire = Vec::new();
    for sent in all {
        if sent.is_counted {
            wire.extend_from_slice(format!("{} ", sent.bytes.len()).as_bytes());
            wire.extend_from_slice(&sent.bytes);
        } else {
            wire.extend_from_slice(&sent.bytes);
            wire.push(b'\n');
        }
    }
    wire
}

/// `bytes` in reads of changing size.
fn in_reads<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut reads = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (read, after) = rest.split_at((*size).min(rest.len()));
        reads.push(read);
        rest = after;
    }
    reads
}

proptest! {
    #[test]
    fn what_was_sent_comes_out_whatever_the_reads(all in vec(sent(), 0..12), sizes in vec(1..40_usize, 1..9)) {
        let wire = wire(&all);
        let found = records(Framing::Syslog, 1000, &in_reads(&wire, &sizes));
        let expected: Vec<_> = all
            .iter()
            .map(|sent| match sent.bytes.split_last() {
                Some((b'\r', rest)) if !sent.is_counted => rest.to_vec(),
                _ => sent.bytes.clone(),
            })
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| (bytes, 0))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn division_into_reads_changes_nothing(
        bytes in vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b'<'), Just(b' '), b'0'..=b'9'], 0..200),
        sizes in vec(1..20_usize, 1..9),
        record_max in 4..40_usize,
    ) {
        for framing in [Framing::Newline, Framing::Syslog] {
            let at_once = records(framing, record_max, &[&bytes]);
            prop_assert_eq!(records(framing, record_max, &in_reads(&bytes, &sizes)), at_once.clone());
            for (record, _) in at_once {
                prop_assert!(!record.is_empty() && record.len() <= record_max);
            }
        }
    }

    /// Every byte of a connection of lines is in a record, counted as lost, or an end of line.
    #[test]
    fn no_byte_of_a_line_disappears_uncounted(bytes in vec(prop_oneof![any::<u8>(), Just(b'\n')], 0..200), record_max in 4..40_usize) {
        let found = records(Framing::Newline, record_max, &[&bytes]);
        let accounted: u64 = found.iter().map(|(record, lost)| record.len() as u64 + lost).sum();
        let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        prop_assert_eq!(accounted, lines.map(|line| line.len() as u64).sum::<u64>());
    }
}
