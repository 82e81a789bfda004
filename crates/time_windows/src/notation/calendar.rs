//! Dates and times of day as seconds since 1970, and the digits that they are written in.

use super::LineTime;

/// A date and a time of day, as in the line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Civil {
    pub(super) year: u32,
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
}

impl Civil {
    /// Its instant at `utc_offset` seconds east; `None` if the date or time does not exist.
    pub(super) fn at_offset(self, utc_offset: i32) -> Option<LineTime> {
        // POSIX time has no leap second: second 60 is the first second of the next minute.
        if self.hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        if !(1..=12).contains(&self.month) || self.day == 0 || self.day > self.days_in_month() {
            return None;
        }
        let second_of_day = self.hour * 3600 + self.minute * 60 + self.second;
        let unix = self.days_since_1970() * 86_400 + i64::from(second_of_day) - i64::from(utc_offset);
        // The last days of the year 9999 have no instant there, and no log line.
        jiff::Timestamp::from_second(unix).ok()?;
        Some(LineTime { unix, utc_offset })
    }

    fn days_in_month(self) -> u32 {
        let is_leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Counts years from March on, so that the leap day is the last of its year.
    fn days_since_1970(self) -> i64 {
        let (year, month, day) = (i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let year = if month > 2 { year } else { year - 1 };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
    }
}

/// A number of at most nine digits.
pub(super) fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u32::from(byte - b'0'))
    })
}

/// How many digits the text begins with.
pub(super) fn digit_count(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

pub(super) fn month(name: &[u8]) -> Option<u32> {
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
    ];
    (1..)
        .zip(MONTHS)
        .find_map(|(number, month)| (month == name).then_some(number))
}

/// `+0600` as seconds east.
pub(super) fn zone(text: &[u8]) -> Option<i32> {
    let (sign, number) = text.split_first()?;
    let (hours, minutes) = (digits(number.get(..2)?)?, digits(number.get(2..4)?)?);
    if hours > 15 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}
