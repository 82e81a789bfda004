use proptest::collection::vec;
use proptest::prelude::*;

use crate::source::journal::export::{ExportDecoder, ExportError, JournalEntry};

fn decode(entry_max: usize, reads: &[&[u8]]) -> Result<Vec<JournalEntry>, ExportError> {
    let mut decoder = ExportDecoder::new(entry_max);
    let mut entries = Vec::new();
    for read in reads {
        decoder.push(read, |entry| entries.push(entry))?;
    }
    Ok(entries)
}

fn entry(fields: &[(&str, &[u8])]) -> JournalEntry {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()));
    JournalEntry {
        fields: fields.collect(),
        lost: 0,
    }
}

#[test]
fn text_and_binary_fields_are_read() {
    let mut output = b"\n__CURSOR=s=1;i=2\nMESSAGE=a=b\nEMPTY=\nBIN\n".to_vec();
    output.extend_from_slice(&4_u64.to_le_bytes());
    output.extend_from_slice(b"x\n\n\xff\nMESSAGE=twice\n\n\nPRIORITY=6\n\nMESSAGE=not ended\n");
    let expected = [
        entry(&[
            ("__CURSOR", b"s=1;i=2"),
            ("MESSAGE", b"a=b"),
            ("EMPTY", b""),
            ("BIN", b"x\n\n\xff"),
            ("MESSAGE", b"twice"),
        ]),
        entry(&[("PRIORITY", b"6")]),
    ];
    assert_eq!(decode(1000, &[&output]), Ok(expected.to_vec()));
}

#[test]
fn output_that_is_no_export_is_refused() {
    for output in ["no name\n", "lower=1\n", "=1\n", "-- No entries --\n"] {
        assert!(
            matches!(decode(100, &[output.as_bytes()]), Err(ExportError::Name(_))),
            "{output}"
        );
    }
    let mut output = b"BIN\n".to_vec();
    output.extend_from_slice(&1_u64.to_le_bytes());
    output.extend_from_slice(b"xy");
    assert_eq!(
        decode(100, &[&output]),
        Err(ExportError::Length("BIN".to_owned()))
    );
}

#[test]
fn entry_over_the_limit_keeps_its_beginning_and_the_beginning_of_every_field() {
    let mut output = format!("A={}\nB={}\nC\n", "a".repeat(6), "b".repeat(3000)).into_bytes();
    output.extend_from_slice(&2000_u64.to_le_bytes());
    output.extend_from_slice(&[b'c'; 2000]);
    output.extend_from_slice(b"\nD=d\n\nE=e\n\n");
    let entries = decode(1000, &[&output]).expect("an export");
    let lens: Vec<_> = entries[0]
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.len()))
        .collect();
    assert_eq!(lens, [("A", 6), ("B", 993), ("C", 256), ("D", 1)]);
    assert_eq!(entries[0].lost, 2007 + 1744);
    assert_eq!(entries[1], entry(&[("E", b"e")]));
}

/// An entry in the export format; every second field in the binary form, as each may have.
fn written(fields: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut written = Vec::new();
    for (number, (name, value)) in fields.iter().enumerate() {
        written.extend_from_slice(name.as_bytes());
        if number % 2 == 0 && !value.contains(&b'\n') {
            written.push(b'=');
        } else {
            written.push(b'\n');
            written.extend_from_slice(&(value.len() as u64).to_le_bytes());
        }
        written.extend_from_slice(value);
        written.push(b'\n');
    }
    written.push(b'\n');
    written
}

proptest! {
    #[test]
    fn what_was_written_is_read_whatever_the_reads(
        entries in vec(vec(("[A-Z0-9_]{1,10}", vec(any::<u8>(), 0..30)), 1..6), 0..5),
        sizes in vec(1..30_usize, 1..9),
    ) {
        let output: Vec<u8> = entries.iter().flat_map(|fields| written(fields)).collect();
        let mut rest = &output[..];
        let mut reads = Vec::new();
        for size in sizes.iter().cycle().take(output.len()) {
            let (read, after) = rest.split_at((*size).min(rest.len()));
            reads.push(read);
            rest = after;
        }
        let expected: Vec<_> = entries.into_iter().map(|fields| JournalEntry { fields, lost: 0 }).collect();
        prop_assert_eq!(decode(10_000, &reads), Ok(expected));
    }

    #[test]
    fn any_bytes_are_read_without_harm(output in vec(any::<u8>(), 0..200), near in "([A-Z]{1,3}[=\n][a-z\\x00\\x01]{0,10}\n){0,8}") {
        for output in [&output[..], near.as_bytes()] {
            let at_once = decode(50, &[output]);
            let singly: Vec<_> = output.chunks(1).collect();
            if at_once.is_ok() {
                prop_assert_eq!(decode(50, &singly), at_once);
            } else {
                prop_assert!(decode(50, &singly).is_err());
            }
        }
    }
}
