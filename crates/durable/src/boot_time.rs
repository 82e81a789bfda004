//! The time since the boot, which no setting of the clock changes.

use std::time::Duration;

/// The time since the boot, and which boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootTime {
    /// Another one for each boot; `None` if the kernel does not tell it.
    pub boot_id: Option<String>,
    /// The time since that boot; zero if the kernel does not tell it.
    pub uptime: Duration,
}

impl BootTime {
    /// This host's, now.
    pub fn now() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = uptime.split(' ').next().and_then(|text| text.parse().ok());
        let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok(),
            uptime: uptime.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_boot_has_one_id_and_its_time_goes_on() {
        let (first, second) = (BootTime::now(), BootTime::now());
        assert!(first.boot_id.is_some() && first.boot_id == second.boot_id);
        assert!(Duration::ZERO < first.uptime && first.uptime <= second.uptime);
    }
}
