//! Repeated deliveries to a destination, and window manifests.

use super::*;

#[test]
fn batch_with_a_resend_request_does_not_expire_before_its_delivery() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let (edw, lab) = ("edw".parse()?, "lab".parse()?);
    let batch = ledger.open_batch(&new_batch(), now())?.id;
    let request =
        |ledger: &mut Ledger, name| Ok::<_, LedgerError>(ledger.request_resends(&[batch], name, now())?[0]);
    assert_eq!(
        request(&mut ledger, &edw)?,
        ResendRequestOutcome::Refused,
        "still open"
    );
    ledger.seal(batch, now())?;
    assert_eq!(
        request(&mut ledger, &edw)?,
        ResendRequestOutcome::Waiting,
        "it goes there anyway"
    );
    ledger.record_delivery(batch, &edw, &published("/in/a"), true, now())?;
    assert_eq!(
        request(&mut ledger, &edw)?,
        ResendRequestOutcome::Due { again: true }
    );
    assert_eq!(
        request(&mut ledger, &lab)?,
        ResendRequestOutcome::Due { again: false }
    );
    assert_eq!(
        request(&mut ledger, &lab)?,
        ResendRequestOutcome::Waiting,
        "asked for already"
    );
    assert_eq!(ledger.resend_requests()?.len(), 2);
    assert_eq!(ledger.resend_requests_for(&lab)?.len(), 1);
    assert!(!ledger.mark_expired(batch, now())?);
    ledger.record_delivery(batch, &edw, &published("/in/a"), false, now())?;
    ledger.cancel_resend(batch, &lab)?;
    assert_eq!(ledger.resend_requests()?, []);
    assert!(ledger.mark_expired(batch, now())?);
    assert_eq!(
        request(&mut ledger, &edw)?,
        ResendRequestOutcome::Refused,
        "its file is gone"
    );
    Ok(())
}

#[test]
fn delivered_batch_can_be_resent_while_it_waits_for_another_destination() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let edw = "edw".parse()?;
    let batch = ledger.open_batch(&new_batch(), now())?.id;
    ledger.seal(batch, now())?;
    ledger.record_delivery(batch, &edw, &published("/in/a"), false, now())?;
    assert_eq!(
        ledger.request_resends(&[batch], &edw, now())?,
        [ResendRequestOutcome::Due { again: true }]
    );
    let delivery = ledger.delivery(batch, &edw)?.ok_or("known")?;
    assert!(delivery.delivered_at.is_some() && !delivery.is_done());
    Ok(())
}

#[test]
fn manifest_keeps_its_content_until_delivery_and_its_batches_are_listed() -> TestResult {
    let (_dir, mut ledger) = ledger()?;
    let edw = "edw".parse()?;
    let since = Timestamp::from_second(1_790_000_000)?;
    assert_eq!(ledger.manifests_since(&edw, since)?, since);
    assert_eq!(
        ledger.manifests_since(&edw, Timestamp::MAX)?,
        since,
        "it stays so"
    );
    let batch = ledger.open_batch(&new_batch(), now())?;
    assert_eq!(ledger.batches_without_manifest(&edw, since, None)?.len(), 1);
    assert_eq!(ledger.batches_without_manifest(&edw, since, Some(batch.id))?, []);
    assert_eq!(
        ledger
            .batches_without_manifest(&edw, since, Some(batch.id.before()))?
            .len(),
        1
    );
    let new = NewManifest {
        window: batch.window,
        revision: 1,
        name: "WINDOW_x.json".to_owned(),
        content: "{}".to_owned(),
        batches: vec![batch.id],
    };
    ledger.add_manifest(&edw, &new, now())?;
    assert!(ledger.add_manifest(&edw, &new, now()).is_err(), "no name twice");
    assert_eq!(ledger.batches_without_manifest(&edw, since, None)?, []);
    assert!(ledger.batches_of_window(batch.window, &edw)?[0].is_listed);
    assert!(!ledger.batches_of_window(batch.window, &"lab".parse()?)?[0].is_listed);
    assert_eq!(ledger.windows_with_manifest(&edw, since)?, [batch.window]);

    let [waiting] = &ledger.waiting_manifests(&edw)?[..] else {
        return Err("one manifest".into());
    };
    assert_eq!((waiting.content.as_str(), waiting.attempts), ("{}", 0));
    let id = waiting.id;
    ledger.manifest_failed(id, "refused", now())?;
    let failed = &ledger.waiting_manifests(&edw)?[0];
    assert_eq!(
        (failed.attempts, failed.last_error.as_deref()),
        (1, Some("refused"))
    );
    ledger.manifest_delivered(id, "/in/WINDOW_x.json", now())?;
    assert_eq!(ledger.waiting_manifests(&edw)?, []);
    let last = ledger.last_manifest(batch.window, &edw)?.ok_or("known")?;
    assert_eq!((last.revision, last.name.as_str()), (1, "WINDOW_x.json"));
    ledger.end_manifests(&edw)?;
    assert_eq!(ledger.manifests_since(&edw, now())?, now());
    Ok(())
}
