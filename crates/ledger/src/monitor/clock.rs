//! The monitor's memory: the trusted time that decides which hours are over, and how long the rest is kept.

use jiff::Timestamp;
use rusqlite::Connection;

use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// The trusted time at the monitor's last look, and what the host's clocks said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockRecord {
    /// The boot that `uptime_ms` counts from.
    pub boot_id: String,
    /// Time since the boot.
    pub uptime_ms: i64,
    /// The trusted time.
    pub trusted: Timestamp,
    /// Time after this one passed only by the word of a clock that was set, if any did.
    pub presumed_after: Option<Timestamp>,
    /// A clock that was set and is not believed yet.
    pub step: Option<ClockStep>,
}

/// A clock that was set and is not believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// Since when, as time since the boot.
    pub since_ms: i64,
    /// How far it is ahead of the trusted time.
    pub offset_ms: i64,
}

/// Rows that were deleted because of their age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForgottenRows {
    /// Mails, sent and not sent.
    pub mails: usize,
    /// Those of them that were never sent.
    pub unsent_mails: usize,
    /// Hours with a summary.
    pub summaries: usize,
    /// Gaps that are closed: all their bytes came later.
    pub gaps: usize,
}

impl ForgottenRows {
    /// Whether there may be more: the limit of one kind was reached.
    pub fn is_limited(&self, limit: u32) -> bool {
        let limit = limit as usize;
        self.mails >= limit || self.unsent_mails >= limit || self.summaries >= limit || self.gaps >= limit
    }
}

impl Ledger {
    /// The trusted time at the last look, if there was one.
    pub fn clock(&self) -> Result<Option<ClockRecord>, LedgerError> {
        self.find(
            "read the trusted time",
            "SELECT * FROM monitor_clock",
            [],
            |row| {
                let since_ms: Option<i64> = row.get("step_since_ms")?;
                let offset_ms: Option<i64> = row.get("step_offset_ms")?;
                Ok(ClockRecord {
                    boot_id: row.get("boot_id")?,
                    uptime_ms: row.get("uptime_ms")?,
                    trusted: row::time(row, "trusted")?,
                    presumed_after: row::optional_time(row, "presumed_after")?,
                    step: since_ms
                        .zip(offset_ms)
                        .map(|(since_ms, offset_ms)| ClockStep { since_ms, offset_ms }),
                })
            },
        )
    }

    /// Records the trusted time. Hours from `unreal_after` on never were: their summaries are due again.
    pub fn note_clock(
        &mut self,
        clock: &ClockRecord,
        unreal_after: Option<Timestamp>,
    ) -> Result<(), LedgerError> {
        self.write("record the trusted time", |sql| {
            if let Some(unreal_after) = unreal_after {
                sql.execute("DELETE FROM summaries WHERE hour >= ?1", [millis(unreal_after)])?;
                // Days that ended after it.
                sql.execute(
                    "DELETE FROM daily_summaries WHERE day > ?1 - 86400000",
                    [millis(unreal_after)],
                )?;
            }
            sql.execute(
                "INSERT OR REPLACE INTO monitor_clock
                    (id, boot_id, uptime_ms, trusted, presumed_after, step_since_ms, step_offset_ms)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    &clock.boot_id,
                    clock.uptime_ms,
                    millis(clock.trusted),
                    clock.presumed_after.map(millis),
                    clock.step.map(|step| step.since_ms),
                    clock.step.map(|step| step.offset_ms),
                ),
            )
            .map(drop)
        })
    }

    /// Deletes mails, summaries and closed gaps of the time before, at most `limit` of each kind. One short transaction.
    ///
    /// Open gaps stay: they are lines that the audit must name.
    pub fn forget_before(&mut self, before: Timestamp, limit: u32) -> Result<ForgottenRows, LedgerError> {
        let delete = |sql: &Connection, statement: &str| {
            sql.prepare_cached(statement)?.execute((millis(before), limit))
        };
        self.write("delete old mails, summaries and gaps", |sql| {
            let sent = delete(
                sql,
                "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE sent_at < ?1 ORDER BY sent_at LIMIT ?2)",
            )?;
            let unsent_mails = delete(
                sql,
                "DELETE FROM outbox WHERE id IN
                    (SELECT id FROM outbox WHERE sent_at IS NULL AND created_at < ?1 LIMIT ?2)",
            )?;
            delete(
                sql,
                "DELETE FROM daily_summaries WHERE day IN (SELECT day FROM daily_summaries
                    WHERE day < ?1 AND day < (SELECT max(day) FROM daily_summaries) ORDER BY day LIMIT ?2)",
            )?;
            Ok(ForgottenRows {
                mails: sent + unsent_mails,
                unsent_mails,
                // The last hour stays: the next one is counted from it.
                summaries: delete(
                    sql,
                    "DELETE FROM summaries WHERE hour IN (SELECT hour FROM summaries
                        WHERE hour < ?1 AND hour < (SELECT max(hour) FROM summaries) ORDER BY hour LIMIT ?2)",
                )?,
                gaps: delete(
                    sql,
                    "DELETE FROM gaps WHERE (source, stream, from_offset) IN
                        (SELECT gaps.source, gaps.stream, from_offset
                            FROM gaps LEFT JOIN streams USING (source, stream)
                            WHERE noticed_at < ?1 AND CASE WHEN until_offset IS NULL
                                THEN coalesce(committed, 0) > from_offset OR coalesce(finished, 0)
                                ELSE coalesce(committed, 0) >= until_offset END
                            LIMIT ?2)",
                )?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::DUE_MAILS;
    use crate::tests::{TestResult, ledger, now};
    use crate::{NewMail, SummaryKey};

    #[test]
    fn the_trusted_time_outlives_a_restart_and_unreal_hours_are_due_again() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        assert_eq!(ledger.clock()?, None);
        let clock = ClockRecord {
            boot_id: "boot".to_owned(),
            uptime_ms: 1000,
            trusted: now(),
            presumed_after: Some(now()),
            step: Some(ClockStep {
                since_ms: 500,
                offset_ms: -7,
            }),
        };
        ledger.note_clock(&clock, None)?;
        assert_eq!(ledger.clock()?, Some(clock.clone()));
        let hours = [-3600, 0, 3600].map(|second| now() + jiff::SignedDuration::from_secs(second));
        for hour in hours {
            assert!(ledger.queue_summary_mail(SummaryKey::Hour(hour), &mail(), &[], now())?);
        }
        ledger.note_clock(&clock, Some(now()))?;
        assert_eq!(ledger.last_summary()?, Some(hours[0]));
        assert!(ledger.queue_summary_mail(SummaryKey::Hour(hours[1]), &mail(), &[], now())?);
        Ok(())
    }

    #[test]
    fn old_mails_and_summaries_go_in_small_steps_and_the_last_hour_stays() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        for hour in 0..10 {
            let hour = Timestamp::from_second(hour * 3600)?;
            ledger.queue_summary_mail(SummaryKey::Hour(hour), &mail(), &[], hour)?;
        }
        for due in ledger.due_mails(Timestamp::MAX)?.iter().take(7) {
            ledger.mail_presumed_sent(due.id, "sent", due.created_at)?;
        }
        let first = ledger.forget_before(now(), 4)?;
        assert_eq!((first.mails, first.unsent_mails, first.summaries), (4 + 3, 3, 4));
        assert!(first.is_limited(4));
        let second = ledger.forget_before(now(), 4)?;
        assert_eq!((second.mails, second.unsent_mails, second.summaries), (3, 0, 4));
        let last = ledger.forget_before(now(), 4)?;
        assert_eq!((last.mails, last.summaries), (0, 1));
        assert_eq!(ledger.last_summary()?, Some(Timestamp::from_second(9 * 3600)?));
        Ok(())
    }

    #[test]
    fn what_is_due_and_what_is_old_is_found_by_an_index() -> TestResult {
        let (_dir, ledger) = ledger()?;
        let plan = |query: &str| -> Result<String, LedgerError> {
            let plan: Vec<String> =
                ledger.list("explain", &format!("EXPLAIN QUERY PLAN {query}"), [], |row| {
                    row.get(3)
                })?;
            Ok(plan.join("; "))
        };
        let due = plan(&DUE_MAILS.replace("?1", "5").replace("?2", "9"))?;
        assert!(due.contains("outbox_due"), "{due}");
        let old = plan("SELECT id FROM outbox WHERE sent_at < 5 ORDER BY sent_at LIMIT 4")?;
        assert!(old.contains("outbox_sent"), "{old}");
        let gaps = plan("SELECT source FROM gaps WHERE noticed_at < 5")?;
        assert!(gaps.contains("gaps_by_time"), "{gaps}");
        Ok(())
    }

    fn mail() -> NewMail {
        NewMail {
            subject: "s".to_owned(),
            text: "t".to_owned(),
            html: None,
        }
    }
}
