//! Who sends a request. [`Reader`] and [`Actor`] are what handlers ask for: without the right to it they never run.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use jiff::Timestamp;

use crate::access::scope::AccessScope;
use crate::access::secret_text::SecretHash;
use crate::access::{secret_text, session_cookie};
use crate::answer::peer::RequestPeer;
use crate::answer::problem::Problem;
use crate::app::state::AppState;

/// What lasts ends this long after its session or token, at most.
const CHECK_INTERVAL: Duration = if cfg!(test) {
    Duration::from_millis(200)
} else {
    Duration::from_secs(15)
};

/// Somebody who may look.
#[derive(Debug, Clone)]
pub(crate) struct Reader(pub(crate) Principal);

/// Somebody who may act.
#[derive(Debug, Clone)]
pub(crate) struct Actor(pub(crate) Principal);

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The name in the trail of actions: the user's, or `token NAME`.
    pub(crate) name: String,
    pub(crate) scope: AccessScope,
    pub(crate) kind: PrincipalKind,
}

/// How it was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrincipalKind {
    /// By the session whose secret has this hash.
    User(SecretHash),
    /// By the token with this hash.
    Token(SecretHash),
    /// Not at all: the console is open.
    Anybody,
}

impl Principal {
    fn anybody() -> Self {
        Self {
            name: "anybody".to_owned(),
            scope: AccessScope::Act,
            kind: PrincipalKind::Anybody,
        }
    }

    /// The name of a user who has logged in, and can log out.
    pub(crate) fn login_name(&self) -> Option<&str> {
        matches!(self.kind, PrincipalKind::User(_)).then_some(self.name.as_str())
    }

    /// Whether it may act.
    pub(crate) fn may_act(&self) -> bool {
        self.scope.includes(AccessScope::Act)
    }

    /// Waits until its session or token is over.
    pub(crate) async fn over(self, state: AppState) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            if !self.still_counts(&state).await {
                return;
            }
        }
    }

    /// Whether its session or token still counts. That is a use of it, as a request is. An error says nothing against it.
    async fn still_counts(&self, state: &AppState) -> bool {
        let now = Timestamp::now();
        let found = match self.kind {
            PrincipalKind::Anybody => return true,
            PrincipalKind::User(hash) => {
                let user = state.database.run(move |db| db.user_of_session(&hash, now)).await;
                user.map(|user| user.is_some())
            }
            PrincipalKind::Token(hash) => {
                let token = state.database.run(move |db| db.token_by_hash(&hash, now)).await;
                token.map(|token| token.is_some())
            }
        };
        found.unwrap_or(true)
    }

    async fn of(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let principal = Self::look_up(parts, state).await?;
        parts.extensions.insert(principal.clone());
        Ok(principal)
    }

    async fn look_up(parts: &Parts, state: &AppState) -> Result<Self, Problem> {
        let now = Timestamp::now();
        if let Some(header) = parts.headers.get(AUTHORIZATION) {
            let token = header.to_str().ok().and_then(|text| {
                let (scheme, token) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let token = token.ok_or_else(|| Problem::unauthorized("write `Authorization: Bearer TOKEN`"))?;
            let hash = secret_text::hash(token);
            let found = state.database.run(move |db| db.token_by_hash(&hash, now)).await?;
            let found = found.ok_or_else(|| {
                Problem::unauthorized("this token is not known, was removed or has expired; make one with `logferry console token add`")
            })?;
            return Ok(Self {
                name: format!("token {}", found.name),
                scope: found.scope,
                kind: PrincipalKind::Token(hash),
            });
        }
        if state.settings.open {
            return Ok(Self::anybody());
        }
        let is_secure = parts
            .extensions
            .get::<RequestPeer>()
            .is_some_and(|peer| peer.is_secure);
        let secret = session_cookie::read(&parts.headers, is_secure);
        let hash = secret.map(secret_text::hash);
        let hash = hash.ok_or_else(|| {
            Problem::unauthorized("log in at /login, or send `Authorization: Bearer TOKEN`")
        })?;
        let user = state
            .database
            .run(move |db| db.user_of_session(&hash, now))
            .await?;
        let user =
            user.ok_or_else(|| Problem::unauthorized("this session is over; log in again at /login"))?;
        Ok(Self {
            name: user.name,
            scope: user.scope,
            kind: PrincipalKind::User(hash),
        })
    }
}

impl FromRequestParts<AppState> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Principal::of(parts, state).await.map(Self)
    }
}

impl FromRequestParts<AppState> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let principal = Principal::of(parts, state).await?;
        if principal.may_act() {
            return Ok(Self(principal));
        }
        Err(Problem::forbidden(format!(
            "{} may only look; `logferry console user` and `token` give the scope `act`",
            principal.name
        )))
    }
}
