//! A field of a line: its name, and where its value is.

use std::ops::Range;

/// A field of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineField<'a> {
    /// Its name.
    pub name: FieldName<'a>,
    /// The bytes of its value in the line, as they are escaped there.
    pub value: Range<usize>,
}

/// The name of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldName<'a> {
    /// It is known from the format.
    Known(&'a str),
    /// It stands in these bytes of the line.
    InLine(Range<usize>),
}

impl<'a> LineField<'a> {
    pub(crate) fn new(name: &'a str, value: Range<usize>) -> Self {
        Self {
            name: FieldName::Known(name),
            value,
        }
    }

    pub(crate) fn in_line((name, value): (Range<usize>, Range<usize>)) -> Self {
        Self {
            name: FieldName::InLine(name),
            value,
        }
    }

    /// Its name, given the line.
    pub fn name(&'a self, line: &'a [u8]) -> &'a [u8] {
        match &self.name {
            FieldName::Known(name) => name.as_bytes(),
            FieldName::InLine(bytes) => line.get(bytes.clone()).unwrap_or_default(),
        }
    }
}
