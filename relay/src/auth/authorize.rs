//! Who may send to a group, and whose lines they are.
//!
//! Pure. The client's identity decides, in this order:
//!
//! 1. Its certificate, if the port requires one: the lines belong to a host that the certificate names.
//! 2. Its token, if the port requires one: the lines belong to the source that the tokens file gives. A certificate and a
//!    token must agree.
//! 3. Its address, if neither gives a source. Only then a group with `trust_source` believes the source that the client
//!    names.
//!
//! In every case the source must be listed in the group's `sources`. A source that the client names selects one of its
//! certificate's names. A named source that contradicts the certificate or token is refused.

use std::net::IpAddr;

use logferry_config::GroupSettings;
use logferry_protocol::names::{NameError, SourceId};

use crate::auth::tokens::TokenOwner;

/// The verified identity of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerIdentity<'a> {
    /// The address of the connection.
    pub(crate) address: IpAddr,
    /// The names in its certificate, if one is required.
    pub(crate) certificate: Option<&'a [SourceId]>,
    /// The owner of its token, if one is required.
    pub(crate) token: Option<&'a TokenOwner>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthorizationError {
    /// The source is not in the group: the peer's address, the token's source, or the source that the client names.
    #[error("{source_id} is not among the sources of group {group}")]
    NotListed { source_id: SourceId, group: String },
    #[error("the client's certificate is for {names}, which is not among the sources of group {group}")]
    Certificate { names: String, group: String },
    #[error("the client's certificate or token is for {bound}, not for {source_id}")]
    OtherSource {
        /// The source that the client names, or the token's source.
        source_id: SourceId,
        /// The sources of its certificate or token.
        bound: String,
    },
    #[error("header ferry-source: {0}")]
    Malformed(#[from] NameError),
}

impl AuthorizationError {
    /// The refused source, for the log.
    pub(crate) fn source_id(&self) -> Option<&SourceId> {
        match self {
            Self::NotListed { source_id, .. } | Self::OtherSource { source_id, .. } => Some(source_id),
            Self::Certificate { .. } | Self::Malformed(_) => None,
        }
    }
}

/// The source of a request by `client` that names the source `claimed`.
pub(crate) fn authorize(
    group: &GroupSettings,
    client: PeerIdentity<'_>,
    claimed: Option<&str>,
) -> Result<SourceId, AuthorizationError> {
    let token = match client.token {
        Some(TokenOwner::Source(source)) => Some(source),
        Some(TokenOwner::Anyone) | None => None,
    };
    let claim = || claimed.map(str::parse::<SourceId>).transpose();
    match (client.certificate, token) {
        (Some(names), token) => source_of_certificate(group, names, token, claim()?.as_ref()),
        (None, Some(source)) => {
            check_claim(std::slice::from_ref(source), claim()?.as_ref())?;
            check_listed(group, source.clone())
        }
        (None, None) if group.trust_source => {
            check_listed(group, claim()?.unwrap_or_else(|| client.address.into()))
        }
        (None, None) => check_listed(group, client.address.into()),
    }
}

/// Whether only the address of a client gives its source, which is rule 3 without a name. Then the client's id may give the
/// source that it had at another address (`senders`).
pub(crate) fn is_by_address(group: &GroupSettings, client: PeerIdentity<'_>, claimed: Option<&str>) -> bool {
    client.certificate.is_none()
        && !matches!(client.token, Some(TokenOwner::Source(_)))
        && !(group.trust_source && claimed.is_some())
}

/// The source of a client with a certificate for `names`: the one that its token and its claim name, else the first.
fn source_of_certificate(
    group: &GroupSettings,
    names: &[SourceId],
    token: Option<&SourceId>,
    claimed: Option<&SourceId>,
) -> Result<SourceId, AuthorizationError> {
    let may_send = |name: &&SourceId| group.sources.allows_name(name);
    let mut bound: Vec<_> = names.iter().filter(may_send).cloned().collect();
    for named in [token, claimed].into_iter().flatten() {
        check_claim(&bound, Some(named))?;
        bound = vec![named.clone()];
    }
    bound
        .into_iter()
        .next()
        .ok_or_else(|| AuthorizationError::Certificate {
            names: name_list(names),
            group: group.name.to_string(),
        })
}

/// Checks that the claimed source, if any, is one of those that the client is bound to.
fn check_claim(bound: &[SourceId], claimed: Option<&SourceId>) -> Result<(), AuthorizationError> {
    match claimed {
        Some(claimed) if !bound.contains(claimed) => Err(AuthorizationError::OtherSource {
            source_id: claimed.clone(),
            bound: name_list(bound),
        }),
        _ => Ok(()),
    }
}

fn check_listed(group: &GroupSettings, source_id: SourceId) -> Result<SourceId, AuthorizationError> {
    if group.sources.allows_name(&source_id) {
        return Ok(source_id);
    }
    Err(AuthorizationError::NotListed {
        source_id,
        group: group.name.to_string(),
    })
}

fn name_list(names: &[SourceId]) -> String {
    if names.is_empty() {
        return "no host".to_owned();
    }
    let names: Vec<_> = names.iter().map(SourceId::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
