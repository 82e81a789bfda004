//! The metrics of the monitor.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{ByChannel, ByReason, BySetting, BySeverity};
use super::{Seconds, gauge_value, register};

/// The numbers of the monitor.
#[derive(Debug, Clone)]
pub struct MonitorMetrics {
    alerts: Counter,
    mails: Counter,
    messages: Counter,
    last_look: Seconds,
    pending: Family<ByChannel, Gauge>,
    incidents: Family<BySeverity, Gauge>,
    lost_bytes: Family<ByReason, Gauge>,
    mismatches: Gauge,
    certificates: Family<BySetting, Seconds>,
    housekeeper_run: Seconds,
    housekeeper_duration: Seconds,
    housekeeper_freed: Gauge,
}

impl MonitorMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            alerts: register(r, "monitor_alerts", "Alerts raised"),
            mails: register(r, "monitor_mails", "Mails the mail server took"),
            messages: register(
                r,
                "monitor_messages",
                "Messages that channels beside the mail took",
            ),
            last_look: register(
                r,
                "monitor_last_look_timestamp_seconds",
                "When the monitor last looked at everything, in seconds since 1970",
            ),
            pending: register(
                r,
                "monitor_outbox_pending",
                "Mails, and alerts for each channel, that were not taken yet",
            ),
            incidents: register(r, "monitor_open_incidents", "Incidents that are open now"),
            lost_bytes: register(
                r,
                "monitor_lost_bytes",
                "Bytes that are known to be lost, by the reason; must be 0",
            ),
            mismatches: register(
                r,
                "monitor_count_mismatches",
                "Sources with other counts of lines sent than of lines stored; must be 0",
            ),
            certificates: register(
                r,
                "certificate_expiry_timestamp_seconds",
                "When the certificate of a setting expires, in seconds since 1970",
            ),
            housekeeper_run: register(
                r,
                "housekeeper_last_run_timestamp_seconds",
                "When the housekeeper's last run began, in seconds since 1970",
            ),
            housekeeper_duration: register(
                r,
                "housekeeper_last_run_seconds",
                "How long the housekeeper's last run took",
            ),
            housekeeper_freed: register(
                r,
                "housekeeper_last_run_freed_bytes",
                "Bytes that the housekeeper's last run freed",
            ),
        }
    }

    /// An alert was raised.
    pub fn alerted(&self) {
        self.alerts.inc();
    }

    /// A channel took a message.
    pub fn notified(&self) {
        self.messages.inc();
    }

    /// The mail server took a mail.
    pub fn mailed(&self) {
        self.mails.inc();
    }

    /// A look has succeeded, so many seconds after 1970.
    pub fn looked(&self, seconds: f64) {
        self.last_look.set(seconds);
    }

    /// Sets the housekeeper's last run: its begin in seconds since 1970, its duration in seconds, and the bytes that it freed.
    pub fn set_housekeeper_run(&self, began: f64, duration: f64, freed_bytes: u64) {
        self.housekeeper_run.set(began);
        self.housekeeper_duration.set(duration);
        self.housekeeper_freed.set(gauge_value(freed_bytes));
    }

    /// Sets how many messages wait for a channel.
    pub fn set_pending(&self, channel: &str, pending: u64) {
        let channel = channel.to_owned();
        self.pending
            .get_or_create(&ByChannel { channel })
            .set(gauge_value(pending));
    }

    /// Sets how many incidents of a severity are open.
    pub fn set_incidents(&self, severity: &str, open: usize) {
        let severity = severity.to_owned();
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        self.incidents.get_or_create(&BySeverity { severity }).set(open);
    }

    /// Sets how many bytes are lost for a reason.
    pub fn set_lost_bytes(&self, reason: &'static str, bytes: u64) {
        self.lost_bytes
            .get_or_create(&ByReason { reason })
            .set(gauge_value(bytes));
    }

    /// Sets for how many sources the counts differ.
    pub fn set_mismatches(&self, sources: usize) {
        self.mismatches.set(i64::try_from(sources).unwrap_or(i64::MAX));
    }

    /// Sets when the certificate of a setting expires, in seconds since 1970.
    pub fn set_certificate_expiry(&self, setting: &'static str, seconds: f64) {
        self.certificates
            .get_or_create(&BySetting { setting })
            .set(seconds);
    }
}
