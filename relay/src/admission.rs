//! Who may send to a group, and whose lines they are.
//!
//! Pure. What a client has shown decides, in this order:
//!
//! 1. Its certificate, where certificates are asked for: the lines are of a host that it names.
//! 2. Its token, where tokens are asked for: the lines are of the source that the tokens file has for it. A certificate
//!    and a token must agree.
//! 3. Its address, if neither says whose the lines are. Only then a group with `trust_source` takes the client's word
//!    instead.
//!
//! Whatever decides, only a source among the group's `sources` is admitted. What a client names itself chooses among the
//! names of its certificate; against its certificate or token it is refused, never taken.

use std::net::IpAddr;

use logferry_config::GroupSettings;
use logferry_protocol::names::{NameError, SourceId};

use crate::tokens::Bearer;

/// What is known of a client for certain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    /// The address that its connection comes from.
    pub(crate) peer: IpAddr,
    /// The names in its certificate, where it had to show one.
    pub(crate) certificate: Option<&'a [SourceId]>,
    /// Whom its token lets in, where it had to show one.
    pub(crate) token: Option<&'a Bearer>,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The source is not among the group's: the peer's address, what its token is for, or what it names itself.
    #[error("{source_id} is not among the sources of group {group}")]
    NotListed {
        /// The source.
        source_id: SourceId,
        /// The group asked.
        group: String,
    },
    /// No name of the certificate is among the group's sources.
    #[error("the client's certificate is for {names}, which is not among the sources of group {group}")]
    Certificate {
        /// Its names.
        names: String,
        /// The group asked.
        group: String,
    },
    /// It names a source that its certificate or token is not for.
    #[error("the client's certificate or token is for {bound}, not for {source_id}")]
    OtherSource {
        /// What it names, or what its token is for.
        source_id: SourceId,
        /// What its certificate or token is for.
        bound: String,
    },
    /// The named source is no name.
    #[error("header ferry-source: {0}")]
    Malformed(#[from] NameError),
}

impl Refusal {
    /// Whom it is about, for the log.
    pub(crate) fn source_id(&self) -> Option<&SourceId> {
        match self {
            Self::NotListed { source_id, .. } | Self::OtherSource { source_id, .. } => Some(source_id),
            Self::Certificate { .. } | Self::Malformed(_) => None,
        }
    }
}

/// The source of a request by `client` that names `claimed`.
pub(crate) fn admit(
    group: &GroupSettings,
    client: Client<'_>,
    claimed: Option<&str>,
) -> Result<SourceId, Refusal> {
    let token = match client.token {
        Some(Bearer::Source(source)) => Some(source),
        Some(Bearer::Anyone) | None => None,
    };
    let claim = || claimed.map(str::parse::<SourceId>).transpose();
    match (client.certificate, token) {
        (Some(names), token) => certified(group, names, token, claim()?.as_ref()),
        (None, Some(source)) => {
            agree(std::slice::from_ref(source), claim()?.as_ref())?;
            listed(group, source.clone())
        }
        (None, None) if group.trust_source => listed(group, claim()?.unwrap_or_else(|| client.peer.into())),
        (None, None) => listed(group, client.peer.into()),
    }
}

/// The source of a client with a certificate for `names`: the one that token and client name, else the first.
fn certified(
    group: &GroupSettings,
    names: &[SourceId],
    token: Option<&SourceId>,
    claimed: Option<&SourceId>,
) -> Result<SourceId, Refusal> {
    let may_send = |name: &&SourceId| group.sources.allows_name(name);
    let mut bound: Vec<_> = names.iter().filter(may_send).cloned().collect();
    for named in [token, claimed].into_iter().flatten() {
        agree(&bound, Some(named))?;
        bound = vec![named.clone()];
    }
    bound.into_iter().next().ok_or_else(|| Refusal::Certificate {
        names: words(names),
        group: group.name.to_string(),
    })
}

/// Whether the source that is named, if one is, is among those that are bound.
fn agree(bound: &[SourceId], named: Option<&SourceId>) -> Result<(), Refusal> {
    match named {
        Some(named) if !bound.contains(named) => Err(Refusal::OtherSource {
            source_id: named.clone(),
            bound: words(bound),
        }),
        _ => Ok(()),
    }
}

fn listed(group: &GroupSettings, source_id: SourceId) -> Result<SourceId, Refusal> {
    if group.sources.allows_name(&source_id) {
        return Ok(source_id);
    }
    Err(Refusal::NotListed {
        source_id,
        group: group.name.to_string(),
    })
}

fn words(names: &[SourceId]) -> String {
    if names.is_empty() {
        return "no host".to_owned();
    }
    let names: Vec<_> = names.iter().map(SourceId::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
