//! Losses that were noticed in the period, from a real ledger.

use logferry_protocol::heartbeat::{Heartbeat, HostTime, ReportedGap};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};

use super::*;

#[test]
fn a_loss_is_told_by_the_mail_of_its_hour_although_it_was_noticed_in_the_first_second() {
    let mut host = RelayHost::new();
    let lossy = source("198.51.100.7");
    let file = FileKey { dev: 1, inode: 7 };
    let gap = ReportedGap {
        stream: StreamId::derive(file, Head::of(b"first\n").expect("a line"), 0),
        log: "access".parse().expect("a name"),
        path: "/log/access.log.9".to_owned(),
        from: Offset::new(1500),
        until: Some(Offset::new(2500)),
        noticed_at: HostTime::from_millis(0),
    };
    let heartbeat = Heartbeat {
        gaps: vec![gap],
        ..Heartbeat::default()
    };
    let group = "web-1".parse().expect("a group");
    let noted = host
        .ledger
        .note_heartbeat(&lossy, &group, &heartbeat, hour().start);
    noted.expect("noted");
    let config = host.config(25);
    let before = SummaryPeriod::hour(hour().start - SignedDuration::from_hours(1));
    for (period, losses) in [(before, 0), (hour(), 1)] {
        let facts = SummaryFacts::read(&host.ledger, &config, period, &zone(), period.end).expect("read");
        assert_eq!(facts.audit.discrepancies.len(), losses, "{:?}", facts.audit);
    }
}
