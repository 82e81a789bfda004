//! nginx's `$time_local`, with the last minute remembered.

use super::LineTime;
use super::calendar::{Civil, digits, month, zone};

/// Length of `21/Nov/2026:08:20:03 +0600`.
pub(super) const LEN: usize = 26;

#[derive(Debug, Default)]
pub(super) struct NginxTimes {
    minute: Option<CachedMinute>,
}

#[derive(Debug)]
struct CachedMinute {
    /// `21/Nov/2026:08:20:`.
    prefix: [u8; 18],
    /// ` +0600`.
    zone: [u8; 6],
    /// The minute's first second.
    time: LineTime,
}

impl NginxTimes {
    pub(super) fn read(&mut self, text: &[u8]) -> Option<LineTime> {
        let stamp: &[u8; LEN] = text.first_chunk()?;
        if stamp[2] != b'/' {
            return None;
        }
        let second = i64::from(digits(&stamp[18..20])?);
        if let Some(minute) = &self.minute
            && stamp[..18] == minute.prefix
            && stamp[20..26] == minute.zone
            && second < 60
        {
            return Some(LineTime {
                unix: minute.time.unix + second,
                ..minute.time
            });
        }
        let (minute, time) = parse(stamp)?;
        self.minute = Some(minute);
        Some(time)
    }
}

fn parse(stamp: &[u8; LEN]) -> Option<(CachedMinute, LineTime)> {
    let separators = [stamp[2], stamp[6], stamp[11], stamp[14], stamp[17], stamp[20]];
    if separators != *b"//::: " {
        return None;
    }
    let civil = Civil {
        year: digits(&stamp[7..11])?,
        month: month(&stamp[3..6])?,
        day: digits(&stamp[..2])?,
        hour: digits(&stamp[12..14])?,
        minute: digits(&stamp[15..17])?,
        second: digits(&stamp[18..20])?,
    };
    let time = civil.at_offset(zone(&stamp[21..26])?)?;
    let mut minute = CachedMinute {
        prefix: [0; 18],
        zone: [0; 6],
        time: LineTime {
            unix: time.unix - i64::from(civil.second),
            ..time
        },
    };
    minute.prefix.copy_from_slice(&stamp[..18]);
    minute.zone.copy_from_slice(&stamp[20..26]);
    Some((minute, time))
}
