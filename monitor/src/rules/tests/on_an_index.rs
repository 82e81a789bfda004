//! What the monitor reads of an index, and says when it cannot.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::{ChannelKind, ChannelSettings, MonitorSettings};
use logferry_ledger::Batch;
use logferry_numbers::{IndexChange, IndexDb, IndexGap, IndexLag, IndexedBatch, NumbersKept};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_telemetry::{Metrics, PresenceState, give_sign};

use super::super::observe::observe;
use super::super::{list_rules, replay_rules};
use super::{NOW, key, line, settings};
use crate::incident_look::{LookScope, look};
use crate::incidents::observe::RuleFindings;
use logferry_testkit::relay_host::RelayHost;

const RULES: &str = "    - {name: errors, counter: status_5xx, measure: share, above: 5%, by: source, severity: critical, hold: 2m, channels: [mail]}\n    \
                     - {name: orders, counter: orders, below: 1, over: 15m}\n    - {name: silence, counter: lines, absent: true}";

const KEPT: NumbersKept = NumbersKept {
    minutes: Duration::from_hours(192),
    hours: Duration::from_hours(400),
    gaps: Duration::from_hours(400),
};

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// A relay host with one open batch, of which the indexer has read so much at this time.
struct CountedHost {
    host: RelayHost,
    batch: Batch,
    settings: MonitorSettings,
}

impl CountedHost {
    fn new() -> Self {
        let mut host = RelayHost::new();
        let batch = host.take("a", "2026-11-21T02:20:00Z", "one\ntwo\n", time(NOW));
        let settings = MonitorSettings {
            data_dir: host.data_dir().to_owned(),
            store_dir: host.data_dir().join("index"),
            ..settings(RULES)
        };
        Self {
            host,
            batch,
            settings,
        }
    }

    /// Records lines, by the minute before now and their status, as the indexer does.
    fn count(&self, lines: &[(i64, u16)], bytes: u64, recorded_at: i64, lag: IndexLag) {
        std::fs::create_dir_all(&self.settings.store_dir).expect("a folder");
        let mut db = IndexDb::open_or_create(&self.settings.store_dir).expect("an index");
        db.counter_ids(&["orders".to_owned()]).expect("named");
        let mut change = IndexChange {
            ledger: self.host.ledger.id().expect("an id").to_string(),
            newest_batch: Some(self.batch.id.number()),
            store_position: "1:2:3:4:5:6".to_owned(),
            lag,
            ..IndexChange::default()
        };
        for (minute, status) in lines {
            let series = change.tally.series(key("a"));
            change
                .tally
                .minute(NOW + minute * 60, series)
                .count(&line(*status));
        }
        let progress = IndexedBatch {
            bytes,
            lines: 2,
            is_read: false,
        };
        change.batches.insert(self.batch.name(), progress);
        db.record(&mut change, KEPT, recorded_at).expect("recorded");
    }

    /// An indexer of this host gives a sign.
    fn indexer_runs(&mut self) {
        let folder = self.settings.store_dir.clone();
        let signed = give_sign(&folder, "indexer", PresenceState::Running, Timestamp::now(), &[]);
        signed.expect("written");
        self.settings.host.roles = vec![("indexer", folder)];
    }

    fn look(&mut self, now: i64) {
        let scope = LookScope {
            config: &self.settings,
            zone: &TimeZone::UTC,
            watched_for: Duration::ZERO,
            counts_lines: false,
            now: time(now),
        };
        look(&mut self.host.ledger, scope, &Metrics::new().monitor()).expect("looked");
    }

    fn observe(&self, now: i64) -> RuleFindings {
        observe(
            &self.host.ledger,
            &self.settings,
            &[],
            (&TimeZone::UTC, time(now)),
        )
        .expect("the ledger is read")
    }

    /// The conditions as `rule subject: text`.
    fn conditions(&self, now: i64) -> Vec<String> {
        let found = self.observe(now).found.into_iter();
        found
            .map(|it| it.condition)
            .map(|it| format!("{} {}: {}", it.rule, it.subject, it.text))
            .collect()
    }
}

#[test]
fn rules_fire_on_what_is_counted_with_their_severity_hold_and_channels() {
    let host = CountedHost::new();
    host.count(&[(-60, 200), (-2, 503), (-1, 200)], 8, NOW, IndexLag::default());
    assert_eq!(
        host.conditions(NOW + 20),
        [
            "errors a: status_5xx: 50% of 2 lines in 5 min, above 5%",
            "orders all: orders: 0 in 15 min, below 1"
        ]
    );
    let observed = host.observe(NOW + 20);
    let errors = &observed.found[0].condition;
    let hold = errors.hold.expect("its own");
    assert_eq!(
        (hold.firing, hold.clear),
        (Duration::from_mins(2), Duration::ZERO)
    );
    assert_eq!(
        (errors.severity.as_str(), &errors.channels[..]),
        ("critical", &["mail".to_owned()][..])
    );
    assert!(
        errors
            .advice
            .contains("`logferry search --status 5xx --source a --since 10m`"),
        "{}",
        errors.advice
    );
    assert_eq!(observed.unjudged, []);
}

#[test]
fn too_few_lines_are_not_told_while_their_sender_is_silent() {
    let mut host = CountedHost::new();
    host.count(&[(-60, 200)], 8, NOW, IndexLag::default());
    for (reported, told) in [(NOW - 300, 0), (NOW + 15, 2)] {
        let (source, group) = (host.batch.source.clone(), host.batch.group.clone());
        let report = Heartbeat::default();
        let noted = host
            .host
            .ledger
            .note_heartbeat(&source, &group, &report, time(reported));
        noted.expect("noted");
        let observed = host.observe(NOW + 20);
        assert_eq!(observed.found.len(), told, "{:?}", observed.found);
        let waiting: Vec<_> = observed
            .unjudged
            .iter()
            .filter(|it| it.rule.as_deref() != Some("errors"))
            .map(|it| (it.rule.as_deref(), it.subject.as_deref()))
            .collect();
        let expected = [(Some("orders"), Some("all")), (Some("silence"), Some("all"))];
        assert_eq!(waiting, expected[..2 - told]);
    }
}

#[test]
fn a_log_without_lines_is_told_from_an_indexer_that_is_behind() {
    let host = CountedHost::new();
    host.count(&[(-60, 200), (-20, 200)], 8, NOW, IndexLag::default());
    // All that the relay has is counted: there are no lines indeed, however long ago the indexer wrote.
    assert!(
        host.conditions(NOW + 7200)
            .contains(&"silence all: no lines in 5 min".to_owned())
    );
    // The relay has more than was counted, and the indexer has not written since.
    let mut host = CountedHost::new();
    host.count(&[(-60, 200), (-20, 200)], 8, NOW, IndexLag::default());
    host.host
        .take("b", "2026-11-21T02:20:00Z", "three\n", time(NOW + 60));
    let told = [
        "rules indexer: the rules are not evaluated: the indexer is behind: it has finished the minutes until 2026-11-21 02:19:00 +00:00",
    ];
    assert_eq!(host.conditions(NOW + 7200), told);
    let hold = |observed: &RuleFindings| observed.found.first().and_then(|it| it.condition.hold);
    let firing = hold(&host.observe(NOW + 7200)).map(|hold| hold.firing);
    assert_eq!(
        firing,
        Some(Duration::from_mins(10)),
        "the alerts on the indexer come first"
    );
    host.settings.host.roles.clear();
    assert_eq!(host.conditions(NOW + 7200), told);
    let observed = host.observe(NOW + 7200);
    assert_eq!(hold(&observed), None, "nobody else says so");
    let rules: Vec<_> = observed.unjudged.iter().map(|it| it.rule.as_deref()).collect();
    assert_eq!(
        rules,
        [Some("errors"), Some("orders"), Some("silence")],
        "what was open stays open"
    );
    // It has written, and is behind by its own account.
    let host = CountedHost::new();
    let lag = IndexLag {
        bytes: 4,
        lines: 1,
        seconds: 4_000,
    };
    host.count(&[(-60, 200)], 4, NOW, lag);
    assert_eq!(host.observe(NOW).unjudged.len(), 3);
}

/// The incidents that are open after a look, with their texts.
fn open(host: &mut CountedHost, now: i64) -> Vec<(String, String, String)> {
    host.look(now);
    let incidents = host.host.ledger.incidents(Timestamp::MAX).expect("read");
    let open = incidents.into_iter().filter(logferry_ledger::Incident::is_open);
    open.map(|it| (it.rule, it.subject, it.text)).collect()
}

#[test]
fn an_indexer_that_runs_and_records_nothing_is_one_incident_with_its_rules() {
    let mut host = CountedHost::new();
    // This one has nothing to measure.
    host.settings.rules.truncate(1);
    host.count(&[(-60, 200)], 8, NOW, IndexLag::default());
    host.indexer_runs();
    assert_eq!(
        open(&mut host, NOW + 590),
        [],
        "it has all, and nothing more came"
    );
    host.host
        .take("b", "2026-11-21T02:20:00Z", "three\n", time(NOW + 595));
    assert_eq!(open(&mut host, NOW + 600), [], "it may read it just now");
    let told = "the indexer is behind: lines wait for it, and it has recorded nothing since 2026-11-21 02:20:00 +00:00; the configured \
                rules are not evaluated meanwhile";
    let incident = ("indexer".to_owned(), "indexer".to_owned(), told.to_owned());
    let expected = [incident];
    assert_eq!(open(&mut host, NOW + 660), expected);
    assert_eq!(open(&mut host, NOW + 7_200), expected);
}

#[test]
fn a_new_index_on_a_host_without_lines_is_no_incident() {
    let mut host = CountedHost::new();
    host.host = RelayHost::new();
    let store_dir = host.host.data_dir().join("index");
    host.settings.data_dir = host.host.data_dir().to_owned();
    host.settings.store_dir.clone_from(&store_dir);
    std::fs::create_dir_all(&store_dir).expect("a folder");
    drop(IndexDb::open_or_create(&store_dir).expect("an index"));
    host.indexer_runs();
    for later in [0, 120, 7200] {
        assert_eq!(open(&mut host, NOW + later), []);
    }
}

#[test]
fn a_gap_of_the_index_is_told_for_a_day_and_hides_no_other_alert_on_the_indexer() {
    let mut host = CountedHost::new();
    let store_dir = host.settings.store_dir.clone();
    host.settings.rules.clear();
    let lag = IndexLag {
        bytes: 4,
        lines: 1,
        seconds: 4_000,
    };
    host.count(&[(-60, 200)], 4, NOW, lag);
    host.indexer_runs();
    let mut db = IndexDb::open_or_create(&store_dir).expect("an index");
    let mut change = IndexChange {
        ledger: host.host.ledger.id().expect("an id").to_string(),
        newest_batch: Some(host.batch.id.number()),
        store_position: "1:2:3:4:5:6".to_owned(),
        lag,
        gaps: vec![IndexGap {
            batch: "gone".to_owned(),
            from: 0,
            bytes: 10,
            source: "a".to_owned(),
            group: "web-1".to_owned(),
            window_start: NOW - 7_200,
            window_end: NOW - 6_000,
            reason: "its file was deleted".to_owned(),
            noticed_at: NOW,
        }],
        ..IndexChange::default()
    };
    db.record(&mut change, KEPT, NOW).expect("recorded");
    let subjects = |host: &mut CountedHost, now| -> Vec<String> {
        let open = open(host, now).into_iter();
        open.map(|(_, subject, _)| subject).collect()
    };
    assert_eq!(subjects(&mut host, NOW + 60), ["indexer", "indexer:gap"]);
    assert_eq!(subjects(&mut host, NOW + 86_460), ["indexer"]);
}

#[test]
fn without_an_index_it_is_told_that_rules_are_not_evaluated() {
    let host = CountedHost::new();
    let observed = host.observe(NOW);
    assert_eq!((observed.found.len(), observed.unjudged.len()), (1, 3));
    let text = &observed.found[0].condition.text;
    assert!(
        text.starts_with("the rules are not evaluated: there are no numbers, as "),
        "{text}"
    );
    let listed = list_rules(&host.settings, time(NOW)).expect("read");
    assert!(listed.iter().all(|rule| rule.not_evaluated.is_some()));
}

#[test]
fn rules_are_listed_with_their_state_and_replayed_on_what_is_stored() {
    let host = CountedHost::new();
    let minutes: Vec<_> = (-100..-50)
        .map(|minute| (minute, if minute < -90 { 500 } else { 200 }))
        .collect();
    host.count(&minutes, 8, NOW, IndexLag::default());
    let listed = list_rules(&host.settings, time(NOW + 20)).expect("read");
    let [errors, orders, silence] = &listed[..] else {
        panic!("three rules")
    };
    assert_eq!(
        (errors.values, errors.unknown, &errors.firing[..]),
        (1, 1, &[][..])
    );
    assert_eq!((&*errors.limit, errors.over_seconds), ("above 5%", 300));
    assert_eq!(
        orders.firing,
        [("all".to_owned(), "orders: 0 in 15 min, below 1".to_owned())]
    );
    assert_eq!(
        silence.firing,
        [("all".to_owned(), "no lines in 5 min".to_owned())]
    );

    let replayed = replay_rules(&host.settings, time(NOW - 7_200), time(NOW + 20)).expect("read");
    let firings = &replayed[0].firings;
    let at = |minute: i64| time(NOW + minute * 60);
    assert_eq!(firings.len(), 1);
    // The first minute ends at -99, the hold is 2 minutes, and the last bad one leaves the five minutes at -85.
    assert_eq!((firings[0].from, firings[0].until), (at(-97), Some(at(-85))));
    assert_eq!(replayed[2].firings[0].until, None);
}

/// What waits for a channel of the rules, as `rule: event`.
fn events(host: &CountedHost, channel: &str) -> Vec<String> {
    let events = host
        .host
        .ledger
        .waiting_events(channel, 100)
        .expect("read")
        .into_iter();
    let of_rules = events.filter(|queued| ["errors", "orders", "silence"].contains(&&*queued.event.rule));
    of_rules
        .map(|queued| format!("{}: {:?}", queued.event.rule, queued.event.kind))
        .collect()
}

#[test]
fn a_rule_tells_its_channels_and_the_others_only_those_that_want_all() {
    let mut host = CountedHost::new();
    host.count(&[(-60, 200), (-2, 503), (-1, 200)], 8, NOW, IndexLag::default());
    let channel = |name: &str, all_alerts| ChannelSettings {
        name: name.to_owned(),
        kind: ChannelKind::Command(vec!["/bin/true".to_owned()]),
        all_alerts,
        time_limit: Duration::from_secs(30),
    };
    host.settings.channels = vec![channel("chat", false), channel("pager", true)];
    host.settings.rules[0].channels = vec!["chat".to_owned()];
    host.settings.rules[0].hold = None;
    host.look(NOW + 20);
    host.look(NOW + 80);
    assert_eq!(events(&host, "chat"), ["errors: Began"]);
    assert_eq!(events(&host, "pager"), ["errors: Began", "orders: Began"]);
    let mails = host.host.ledger.due_mails(Timestamp::MAX).expect("read");
    let texts: String = mails.iter().map(|mail| mail.content.text.as_str()).collect();
    assert!(texts.contains("orders: 0 in 15 min, below 1"), "{texts}");
    assert!(!texts.contains("status_5xx"), "this rule has no mail: {texts}");
    // The bad minute leaves the five minutes. Without a line nobody knows whether it is over.
    host.look(NOW + 320);
    assert_eq!(events(&host, "chat"), ["errors: Began"]);
    host.count(&[(4, 200)], 8, NOW + 310, IndexLag::default());
    host.look(NOW + 320);
    assert_eq!(events(&host, "chat"), ["errors: Began", "errors: Over"]);
}

#[test]
fn no_rule_can_have_the_name_of_an_alert_that_is_built_in() {
    for name in crate::incidents::rules::BUILT_IN
        .into_iter()
        .chain(["rules", "channel"])
    {
        let text = format!("monitor:\n  rules: [{{name: {name}, counter: lines, above: 1}}]\n");
        let error = logferry_config::parse(&text, std::path::Path::new("c.yaml"), &|_| None);
        let error = error.expect_err(name).to_string();
        assert!(
            error.contains("rules[0].name: is the name of an alert"),
            "{error}"
        );
    }
}
