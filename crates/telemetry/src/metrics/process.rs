//! The metrics of the process itself: what runs here, since when, with which configuration.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::labels::ByRole;
use super::{Seconds, register};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// The numbers of the process.
#[derive(Debug, Clone)]
pub struct ProcessMetrics {
    up: Family<ByRole, Gauge>,
    started: Family<ByRole, Seconds>,
    config_hash: Gauge,
}

impl ProcessMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let build = BuildLabels {
            version: env!("CARGO_PKG_VERSION"),
        };
        r.register("build", "The version of the program", Info::new(build));
        Self {
            up: register(r, "up", "Whether the role runs in this process"),
            started: register(
                r,
                "start_time_seconds",
                "When the role was started, in seconds since 1970",
            ),
            config_hash: register(
                r,
                "config_hash",
                "The first 48 bits of the SHA-256 of the configuration in force; equal on hosts with the same file",
            ),
        }
    }

    /// The role was started, so many seconds after 1970.
    pub fn role_started(&self, role: &str, seconds: f64) {
        let role = ByRole {
            role: role.to_owned(),
        };
        self.up.get_or_create(&role).set(1);
        self.started.get_or_create(&role).set(seconds);
    }

    /// The role has ended.
    pub fn role_ended(&self, role: &str) {
        let role = ByRole {
            role: role.to_owned(),
        };
        self.up.get_or_create(&role).set(0);
    }

    /// This configuration is in force.
    pub fn set_config_hash(&self, hash: i64) {
        self.config_hash.set(hash);
    }
}
