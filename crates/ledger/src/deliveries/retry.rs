//! Another attempt at once, for what a person has put right.

use crate::batches::BatchId;
use crate::{Ledger, LedgerError};

impl Ledger {
    /// Makes what failed of a batch due at once, with no attempts: a failed batch is ready again, and a pending resend or a batch that
    /// has attempts left does not wait for its next one. False if nothing of it failed. What is sent is over, whatever a destination
    /// that is not configured any more has refused.
    ///
    /// The caller, or the next forwarder to start, moves the file of a failed batch back to `ready/`.
    pub fn retry(&mut self, batch: BatchId) -> Result<bool, LedgerError> {
        self.write("have a batch tried again", |sql| {
            let is_failed = "UPDATE batches SET state = 'ready' WHERE id = ?1 AND state = 'failed'";
            let was_tried = "UPDATE deliveries SET attempts = 0, next_attempt = NULL
                WHERE batch = ?1 AND attempts > 0 AND (asked_at IS NOT NULL OR (delivered_at IS NULL
                    AND EXISTS (SELECT 1 FROM batches WHERE id = ?1 AND state <> 'sent')))";
            Ok(sql.execute(is_failed, [batch.0])? + sql.execute(was_tried, [batch.0])? > 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{TestResult, ledger, new_batch, now, published};
    use crate::{BatchState, FailureKind};

    const WHY: (FailureKind, &str) = (FailureKind::NoFolder, "there is no folder");

    #[test]
    fn resend_that_failed_is_due_at_once_and_the_batch_stays_sent() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let batch = ledger.open_batch(&new_batch(), now())?;
        let edw = "edw".parse()?;
        ledger.seal(batch.id, now())?;
        ledger.record_delivery(batch.id, &edw, &published("/in/x.log"), true, now())?;
        assert!(!ledger.retry(batch.id)?, "it is delivered");
        ledger.request_resends(&[batch.id], &edw, now())?;
        assert!(!ledger.retry(batch.id)?, "it is due already");
        ledger.record_failure(batch.id, &edw, WHY, now(), true)?;
        assert!(ledger.retry(batch.id)?);
        let delivery = ledger.delivery(batch.id, &edw)?.ok_or("no delivery")?;
        assert_eq!((delivery.attempts, delivery.next_attempt), (0, None));
        assert_eq!(
            delivery.resend_requested_at,
            Some(now()),
            "it is still to be sent"
        );
        assert_eq!(ledger.batches_in(BatchState::Sent)?.len(), 1);
        Ok(())
    }

    #[test]
    fn batch_with_attempts_left_does_not_wait_either() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let batch = ledger.open_batch(&new_batch(), now())?;
        let edw = "edw".parse()?;
        ledger.seal(batch.id, now())?;
        ledger.record_failure(batch.id, &edw, WHY, now(), false)?;
        assert!(ledger.retry(batch.id)?);
        let delivery = ledger.delivery(batch.id, &edw)?.ok_or("no delivery")?;
        assert_eq!((delivery.attempts, delivery.next_attempt), (0, None));
        assert_eq!(ledger.batches_in(BatchState::Ready)?.len(), 1);
        Ok(())
    }
}
