//! What `status` shows of roles that are not the relay's: sender and collector, by what each says in its own folder.

use std::path::Path;

use logferry_config::Config;

use crate::args::StatusArgs;
use crate::collector_host::CollectorHost;
use crate::output::exit::Result;
use crate::output::terminal;
use crate::{sender_host, service_user};

/// The collector of this host, if the configuration has one.
pub(super) fn collector(file: &Path, config: &Config) -> Result<Option<CollectorHost>> {
    let Some(collector) = &config.collector else {
        return Ok(None);
    };
    let find = || problems(file, config);
    CollectorHost::read(&collector.state_dir, find).map(Some)
}

/// What the service user finds wrong with the files of the configuration.
fn problems(file: &Path, config: &Config) -> Vec<String> {
    let found = service_user::look(file, config, Path::new("/")).findings;
    found.into_iter().map(|finding| finding.text).collect()
}

/// The status of a host without a relay: its sender, its collector.
pub(super) fn status_beside_relay(
    file: &Path,
    config: &Config,
    options: &StatusArgs,
) -> Result<(String, bool)> {
    let (mut texts, mut json, mut is_healthy) = (Vec::new(), serde_json::json!({}), true);
    if let Some(sender) = &config.sender {
        let find = || problems(file, config);
        let (text, of_sender, is_well) = sender_host::show(&sender.state_dir, terminal::columns(), find)?;
        texts.push(text);
        json = of_sender;
        is_healthy &= is_well;
    }
    if let Some(collector) = collector(file, config)? {
        texts.push(collector.as_text(terminal::columns()));
        json["collector"] = collector.as_json();
        is_healthy &= collector.is_healthy();
    }
    let text = if options.json {
        json.to_string() + "\n"
    } else {
        texts.join("\n")
    };
    Ok((text, is_healthy))
}
