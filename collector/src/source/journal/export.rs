//! The Journal Export Format, as `journalctl -o export` writes it (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>): fields
//! one a line as `NAME=value`, or `NAME`, the length as 64 bits in little endian, and the value; an empty line ends an entry.
//!
//! Pure: bytes in, entries out. This format and not JSON: it has every byte of every field, in JSON long and binary fields
//! need special care.
//!
//! Invariants:
//! - How the bytes are divided into reads changes nothing.
//! - At most about `entry_max` bytes of an entry are kept, beside names and the beginnings of small fields; the others are
//!   counted, never stored.

use std::mem;

/// One entry of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JournalEntry {
    /// Names and values in order. A name may come more than once (`sd_journal_get_data(3)`).
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// Bytes of values that are left out, because the entry is over the limit.
    pub(crate) lost: u64,
}

/// What is wrong with the output of `journalctl`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExportError {
    /// A field has an impossible name.
    #[error("journalctl wrote `{0}` where the name of a field should be")]
    Name(String),
    /// A binary field does not end where its length says.
    #[error("journalctl wrote more of the field {0} than it announced")]
    Length(String),
}

/// Reads entries from the output of one `journalctl`.
#[derive(Debug)]
pub(crate) struct ExportDecoder {
    entry_max: usize,
    state: ExportState,
    /// The line that has not ended yet, or the name of the binary field.
    line: Vec<u8>,
    /// Of the line or of the binary value, what is not kept.
    lost: u64,
    value: Vec<u8>,
    entry: JournalEntry,
    /// Bytes of the entry's values.
    kept: usize,
}

#[derive(Debug, Clone, Copy)]
enum ExportState {
    Line,
    /// In the length of a binary value; so many of its bytes have come.
    Length {
        bytes: [u8; 8],
        count: usize,
    },
    /// In a binary value of which so many bytes have not come.
    Value {
        left: u64,
    },
    /// At the newline after a binary value.
    ValueEnd,
}

/// The longest name of a field in bytes (`sd_journal_print(3)`), and its `=`.
const NAME_MAX: usize = 65;

/// So much of each field is kept, also of an entry that is over the limit: entries are chosen by the names of units and hosts,
/// which may come after a long message.
const FIELD_MIN: usize = 256;

impl JournalEntry {
    /// The first value of a field.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The first value of a field as text, if it is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.first(name)?).ok()
    }

    /// Every value of a field.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let of_name = self.fields.iter().filter(move |(field, _)| field == name);
        of_name.map(|(_, value)| value.as_slice())
    }
}

impl ExportDecoder {
    /// For the output of a new `journalctl`. `entry_max`: about how many bytes of an entry's values are kept.
    pub(crate) fn new(entry_max: usize) -> Self {
        Self {
            entry_max,
            state: ExportState::Line,
            line: Vec::new(),
            lost: 0,
            value: Vec::new(),
            entry: JournalEntry::default(),
            kept: 0,
        }
    }

    /// Takes what was read, and gives each entry that ends in it to `each`. After an error nothing more can be read.
    pub(crate) fn push(
        &mut self,
        mut input: &[u8],
        mut each: impl FnMut(JournalEntry),
    ) -> Result<(), ExportError> {
        while let [first, after @ ..] = input {
            input = match self.state {
                ExportState::Line => self.line(input, &mut each)?,
                ExportState::Length { bytes, count } => {
                    self.length(bytes, count, *first);
                    after
                }
                ExportState::Value { left } => self.value(input, left),
                ExportState::ValueEnd if *first == b'\n' => {
                    let name = mem::take(&mut self.line);
                    let value = mem::take(&mut self.value);
                    self.field(&name, value)?;
                    self.state = ExportState::Line;
                    after
                }
                ExportState::ValueEnd => {
                    let name = String::from_utf8_lossy(&self.line).into_owned();
                    return Err(ExportError::Length(name));
                }
            };
        }
        Ok(())
    }

    /// Returns what follows the line.
    fn line<'a>(
        &mut self,
        input: &'a [u8],
        each: &mut impl FnMut(JournalEntry),
    ) -> Result<&'a [u8], ExportError> {
        let newline = memchr::memchr(b'\n', input);
        let (piece, rest) = match newline {
            Some(at) => (&input[..at], &input[at + 1..]),
            None => (input, &[][..]),
        };
        let room = NAME_MAX + self.field_room();
        self.lost += keep(&mut self.line, piece, room);
        if newline.is_none() {
            return Ok(rest);
        }
        let mut line = mem::take(&mut self.line);
        if line.is_empty() {
            self.end(each);
        } else if let Some(at) = memchr::memchr(b'=', &line) {
            let value = line.split_off(at + 1);
            line.pop();
            self.field(&line, value)?;
        } else {
            check_name(&line)?;
            self.line = line;
            let (bytes, count) = ([0; 8], 0);
            self.state = ExportState::Length { bytes, count };
        }
        Ok(rest)
    }

    fn length(&mut self, mut bytes: [u8; 8], mut count: usize, byte: u8) {
        if let Some(place) = bytes.get_mut(count) {
            *place = byte;
        }
        count += 1;
        self.state = if count < bytes.len() {
            ExportState::Length { bytes, count }
        } else {
            after_value(u64::from_le_bytes(bytes))
        };
    }

    /// Returns what follows the value.
    fn value<'a>(&mut self, input: &'a [u8], left: u64) -> &'a [u8] {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let (piece, rest) = input.split_at(taken);
        let room = self.field_room();
        self.lost += keep(&mut self.value, piece, room);
        self.state = after_value(left - taken as u64);
        rest
    }

    fn field(&mut self, name: &[u8], mut value: Vec<u8>) -> Result<(), ExportError> {
        let name = check_name(name)?;
        let kept = value.len().min(self.field_room());
        self.entry.lost += mem::take(&mut self.lost) + (value.len() - kept) as u64;
        value.truncate(kept);
        self.kept += kept + name.len();
        self.entry.fields.push((name, value));
        Ok(())
    }

    fn end(&mut self, each: &mut impl FnMut(JournalEntry)) {
        self.kept = 0;
        let entry = mem::take(&mut self.entry);
        if !entry.fields.is_empty() {
            each(entry);
        }
    }

    fn field_room(&self) -> usize {
        self.entry_max.saturating_sub(self.kept).max(FIELD_MIN)
    }
}

fn after_value(left: u64) -> ExportState {
    if left == 0 {
        ExportState::ValueEnd
    } else {
        ExportState::Value { left }
    }
}

/// Appends what fits, and returns how many bytes do not.
fn keep(kept: &mut Vec<u8>, piece: &[u8], room: usize) -> u64 {
    let fits = room.saturating_sub(kept.len()).min(piece.len());
    kept.extend_from_slice(&piece[..fits]);
    (piece.len() - fits) as u64
}

/// `sd_journal_print(3)`: capital letters, digits and underscores, at most 64.
fn check_name(name: &[u8]) -> Result<String, ExportError> {
    let is_of_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let text = String::from_utf8_lossy(name);
    if name.is_empty() || name.len() >= NAME_MAX || !name.iter().all(is_of_name) {
        return Err(ExportError::Name(text.chars().take(NAME_MAX).collect()));
    }
    Ok(text.into_owned())
}
