//! What becomes of a mail whose server refuses recipients, asks to come later, or does not answer.

use jiff::{SignedDuration, Timestamp};
use logferry_embedded_servers::{MailRefusal, MailSink, ReceivedMail};
use logferry_ledger::{IncidentMail, NewMail, SummaryKey};
use logferry_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::mail::outbox::{Outbox, OutboxPass};
use crate::mail::smtp::{OutgoingMail, SmtpMailer};
use crate::tests::settings::MonitoredHost as _;
use logferry_inspection::status::{StatusReport, StatusScope, status};
use logferry_testkit::relay_host::RelayHost;

const RECIPIENTS: [&str; 3] = ["a@example.com", "dead@example.com", "c@example.com"];

/// A relay host with mails for three recipients, and their server.
struct Mailing {
    host: RelayHost,
    sink: MailSink,
    outbox: Outbox,
}

impl Mailing {
    async fn new() -> Self {
        let host = RelayHost::new();
        let sink = MailSink::start().await.expect("a server");
        let outbox = outbox(&host, &sink, &RECIPIENTS);
        Self { host, sink, outbox }
    }

    fn queue(&mut self, hour: i64) {
        let mail = new_mail(&format!("hour {hour}"));
        let hour = SummaryKey::Hour(Timestamp::from_second(hour * 3600).expect("in range"));
        let ledger = &mut self.host.ledger;
        let queued = ledger.queue_summary_mail(hour, &mail, &[], Timestamp::now());
        assert!(queued.expect("queued"));
    }

    /// Tries every mail, due or not.
    async fn send(&mut self) -> OutboxPass {
        let sent = self.outbox.send(Timestamp::MAX, &CancellationToken::new()).await;
        sent.expect("the ledger works")
    }

    fn waiting(&self) -> usize {
        self.host.ledger.due_mails(Timestamp::MAX).expect("mails").len()
    }

    fn status(&self) -> StatusReport {
        let scope = StatusScope {
            roles: &[],
            expected_sources: &[],
            stale_after: std::time::Duration::from_mins(5),
            groups: &[],
            destinations: &[],
            min_free_disk: 0,
        };
        status(self.host.data_dir(), &scope, Timestamp::now()).expect("a status")
    }
}

fn new_mail(subject: &str) -> NewMail {
    NewMail {
        subject: subject.to_owned(),
        text: "text".to_owned(),
        html: None,
    }
}

fn outbox(host: &RelayHost, sink: &MailSink, recipients: &[&str]) -> Outbox {
    let mut smtp = host.config(sink.port()).smtp;
    smtp.to = recipients.iter().map(|to| (*to).to_owned()).collect();
    let mailer = SmtpMailer::new(&smtp).expect("valid");
    Outbox::new(host.data_dir(), mailer, Metrics::new().monitor())
}

#[tokio::test]
async fn a_mail_is_withdrawn_without_a_word_that_the_server_would_wait_behind() {
    let host = RelayHost::new();
    let sink = MailSink::start().await.expect("a server");
    let mailer = SmtpMailer::new(&host.config(sink.port()).smtp).expect("valid");
    let content = NewMail {
        subject: "news".to_owned(),
        text: "text".to_owned(),
        html: None,
    };
    let now = Timestamp::now();
    let mail = OutgoingMail {
        id: "logferry-1-1".to_owned(),
        written_at: now,
        content: &content,
        parts: &[],
        waiting_for: None,
    };
    mailer.announce(&mail, now).await.expect("announced").withdraw();
    mailer.send(&mail, now).await.expect("sent");
    let mails = sink.messages();
    assert_eq!(mails.len(), 1);
    assert!(!String::from_utf8_lossy(&mails[0].data).contains("QUIT"));
}

fn message_id(mail: &ReceivedMail) -> String {
    let text = String::from_utf8_lossy(&mail.data);
    let line = text.lines().find(|line| line.starts_with("Message-ID:"));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn one_dead_recipient_does_not_stop_the_mail_for_the_others_and_status_names_it() {
    let mut mailing = Mailing::new().await;
    mailing
        .sink
        .set_script(|script| script.refuse_recipient("dead@example.com", "550 5.1.1 no such user", 2));
    mailing.queue(1);
    assert_eq!(mailing.send().await.failed, 0);
    assert_eq!(mailing.sink.messages()[0].to, ["a@example.com", "c@example.com"]);
    assert_eq!(mailing.waiting(), 0, "it is not tried again for the refused one");
    let status = mailing.status();
    let refused = &status.refused_recipients[0];
    assert_eq!(refused.recipient, "dead@example.com");
    assert!(refused.reason.contains("no such user"), "{}", refused.reason);
    assert!(!status.is_healthy());

    // A later mail tries it again, until it is accepted.
    mailing.queue(2);
    mailing.send().await;
    assert_eq!(mailing.status().refused_recipients[0].since, refused.since);
    mailing.queue(3);
    mailing.send().await;
    assert_eq!(mailing.sink.messages()[2].to, RECIPIENTS);
    assert_eq!(mailing.status().refused_recipients, []);
}

#[tokio::test]
async fn a_recipient_that_the_server_asks_to_try_later_gets_the_same_mail_later_and_the_others_no_copy() {
    let mut mailing = Mailing::new().await;
    mailing
        .sink
        .set_script(|script| script.refuse_recipient("c@example.com", "450 4.2.0 greylisted", 1));
    mailing.queue(1);
    mailing.send().await;
    assert_eq!((mailing.sink.count(), mailing.waiting()), (1, 1));
    assert_eq!(mailing.status().refused_recipients, [], "it may pass by itself");
    let soon = Timestamp::now() + SignedDuration::from_secs(25);
    assert!(mailing.host.ledger.due_mails(soon).expect("mails").is_empty());
    mailing.send().await;
    let mails = mailing.sink.messages();
    assert_eq!(mails[1].to, ["c@example.com"]);
    assert_eq!(message_id(&mails[0]), message_id(&mails[1]));
    assert_eq!(mailing.waiting(), 0);
}

#[tokio::test]
async fn a_mail_ends_when_its_last_recipient_is_taken_out_of_the_configuration() {
    let mut mailing = Mailing::new().await;
    mailing
        .sink
        .set_script(|script| script.refuse_recipient("c@example.com", "450 4.1.2 domain not found", 100));
    mailing.queue(1);
    mailing.send().await;
    assert_eq!((mailing.sink.count(), mailing.waiting()), (1, 1));
    let corrected = ["a@example.com", "dead@example.com", "cc@example.com"];
    mailing.outbox = outbox(&mailing.host, &mailing.sink, &corrected);
    assert_eq!(mailing.send().await.failed, 0);
    assert_eq!((mailing.sink.count(), mailing.waiting()), (1, 0));
    let status = mailing.status();
    assert_eq!((status.refused_recipients.len(), status.mails.failing), (0, 0));
}

#[tokio::test]
async fn a_recipient_that_is_refused_at_last_ends_the_mail_and_status_names_it() {
    let mut mailing = Mailing::new().await;
    for (reply, times) in [("450 4.2.0 greylisted", 1), ("550 5.1.1 no such user", 1)] {
        mailing
            .sink
            .set_script(|script| script.refuse_recipient("c@example.com", reply, times));
        if mailing.waiting() == 0 {
            mailing.queue(1);
        }
        mailing.send().await;
    }
    assert_eq!((mailing.sink.count(), mailing.waiting()), (1, 0));
    assert_eq!(mailing.status().refused_recipients[0].recipient, "c@example.com");
}

#[tokio::test]
async fn a_recipient_that_is_to_be_tried_later_for_days_is_given_up_and_counts_as_refused() {
    let mut mailing = Mailing::new().await;
    mailing
        .sink
        .set_script(|script| script.refuse_recipient("c@example.com", "450 4.1.2 domain not found", 1000));
    let (mail, days) = (new_mail("old"), SignedDuration::from_hours(6 * 24));
    let hour = SummaryKey::Hour(Timestamp::from_second(3600).expect("in range"));
    let ledger = &mut mailing.host.ledger;
    let queued = ledger.queue_summary_mail(hour, &mail, &[], Timestamp::now() - days);
    assert!(queued.expect("queued"));
    mailing.send().await;
    mailing.send().await;
    assert_eq!(mailing.waiting(), 1, "after an outage it is tried for long");
    let id = mailing.host.ledger.due_mails(Timestamp::MAX).expect("mails")[0].id;
    for _ in 0..100 {
        let failed = mailing.host.ledger.mail_failed(id, "later", Timestamp::now(), 0);
        failed.expect("noted");
    }
    assert_eq!(mailing.send().await.failed, 0);
    assert_eq!((mailing.sink.count(), mailing.waiting()), (1, 0));
    assert_eq!(mailing.status().refused_recipients[0].recipient, "c@example.com");
    // The next mail waits for it again, and it still counts as refused.
    mailing.queue(2);
    mailing.send().await;
    assert_eq!(mailing.status().refused_recipients.len(), 1);
}

#[tokio::test]
async fn a_new_mail_does_not_wait_behind_those_that_were_tried() {
    let mut mailing = Mailing::new().await;
    mailing
        .sink
        .set_script(|script| script.refuse_recipient("c@example.com", "450 4.2.0 greylisted", 1000));
    mailing.queue(1);
    mailing.send().await;
    mailing.queue(2);
    let due = mailing.host.ledger.due_mails(Timestamp::MAX).expect("mails");
    let subjects: Vec<_> = due.iter().map(|mail| mail.content.subject.as_str()).collect();
    assert_eq!(subjects, ["hour 2", "hour 1"]);
}

#[tokio::test]
async fn a_mail_that_every_recipient_refuses_stays_and_the_error_names_each() {
    let mut mailing = Mailing::new().await;
    mailing.sink.set_script(|script| {
        for recipient in RECIPIENTS {
            script.refuse_recipient(recipient, "504 5.5.2 need fully-qualified hostname", 1);
        }
    });
    mailing.queue(1);
    let error = mailing.send().await.last_error.expect("refused").to_string();
    let parts = [
        "every recipient: a@example.com: ",
        "dead@example.com: ",
        "set monitor.smtp.hello_name",
    ];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    assert_eq!((mailing.sink.count(), mailing.waiting()), (0, 1));
    mailing.send().await;
    assert_eq!((mailing.sink.count(), mailing.waiting()), (1, 0));
}

#[tokio::test]
async fn a_mail_that_the_server_takes_without_a_word_is_sent_three_times_at_most_with_one_id() {
    let mut mailing = Mailing::new().await;
    mailing.sink.set_script(|script| script.take_silently(100));
    mailing.queue(1);
    for _ in 0..6 {
        mailing.send().await;
    }
    let mut ids: Vec<_> = mailing.sink.messages().iter().map(message_id).collect();
    assert_eq!((ids.len(), mailing.waiting()), (3, 0));
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_monitor_that_crashes_after_each_mail_sends_it_three_times_at_most() {
    let mut mailing = Mailing::new().await;
    mailing.queue(1);
    // A crash after the mail leaves the count of the attempt only.
    for _ in 0..3 {
        let mail = mailing.host.ledger.due_mails(Timestamp::MAX).expect("mails")[0].id;
        mailing.host.ledger.mail_announced(mail).expect("counted");
    }
    mailing.send().await;
    assert_eq!((mailing.sink.count(), mailing.waiting()), (0, 0));
}

#[tokio::test]
async fn an_incident_that_is_over_before_the_server_is_back_is_one_mail() {
    let mut mailing = Mailing::new().await;
    let record = |ledger: &mut logferry_ledger::Ledger, subject: &str| {
        let mail = |waiting: &[String]| {
            Some(IncidentMail {
                mail: NewMail {
                    subject: format!("{subject}, and {} before", waiting.len()),
                    text: "text".to_owned(),
                    html: None,
                },
                news: "[]".to_owned(),
            })
        };
        let recorded = ledger.record_incidents(&[], mail, &[], Timestamp::now());
        recorded.expect("recorded");
    };
    mailing.sink.refuse_next(1, MailRefusal::Busy);
    record(&mut mailing.host.ledger, "began");
    assert_eq!(mailing.send().await.failed, 1, "the server is down");
    record(&mut mailing.host.ledger, "over");
    assert_eq!(mailing.status().mails.failing, 1, "it was tried in vain");
    mailing.send().await;
    let subjects = |sink: &MailSink| {
        let mails = sink.messages().into_iter();
        let text = mails.map(|mail| String::from_utf8_lossy(&mail.data).into_owned());
        text.map(|text| {
            let subject = text
                .lines()
                .find_map(|line| line.strip_prefix("Subject: [logferry] "));
            subject.unwrap_or_default().to_owned()
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(subjects(&mailing.sink), ["over, and 1 before"]);
    assert_eq!(mailing.waiting(), 0);
}
