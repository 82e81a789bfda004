//! What is silenced is no reason for "Not all is well".

use logferry_ledger::Silence;

use super::*;

#[test]
fn a_silenced_host_that_is_gone_and_its_incident_leave_all_well() {
    let mut facts = facts(hour(), 12);
    let gone = facts.sources[0].source.clone();
    facts.batches.retain(|batch| batch.source != gone);
    facts.sources[0].last_contact = later(facts.period.start, SignedDuration::from_hours(-24 * 30));
    facts.sources[0].heartbeat_at = Some(facts.sources[0].last_contact);
    facts.sources[0].oldest_report_at = facts.sources[0].heartbeat_at;
    facts.incidents = vec![OpenIncident {
        since: Some(facts.sources[0].last_contact),
        is_silenced: false,
        text: "source is silent".to_owned(),
    }];
    let before = composed(&facts).mail.text;
    assert!(
        before.contains("Not all is well: 1 incident open now."),
        "{before}"
    );
    assert!(before.contains("! stale"), "{before}");

    facts.incidents[0].is_silenced = true;
    facts.silences = vec![Silence {
        subject: gone.to_string(),
        since: facts.period.start,
        until: later(facts.now, SignedDuration::from_hours(24 * 3650)),
        why: "gone".to_owned(),
    }];
    let after = composed(&facts).mail.text;
    assert!(after.contains("All is well."), "{after}");
    assert!(after.contains("Open, and silenced: 1 incident."), "{after}");
    assert!(!after.contains("! stale"), "{after}");

    facts.incidents.push(OpenIncident {
        since: None,
        is_silenced: false,
        text: "another one".to_owned(),
    });
    let both = composed(&facts).mail.text;
    assert!(
        both.contains("Not all is well: 1 incident open now (1 silenced)."),
        "{both}"
    );
}
