//! Login and logout: `POST /login` (form: `user`, `password`, `next`) and `POST /logout`. The login page is in `pages`.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Form, Router};
use jiff::Timestamp;
use serde::Deserialize;

use crate::access::{password, secret_text, session_cookie};
use crate::accounts::Accounts;
use crate::answer::peer::RequestPeer;
use crate::answer::problem::Problem;
use crate::app::state::AppState;

#[derive(Deserialize)]
struct LoginForm {
    user: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// The routes of login and logout.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
}

async fn log_in(
    State(state): State<AppState>,
    Extension(peer): Extension<RequestPeer>,
    Form(form): Form<LoginForm>,
) -> Result<Response, Problem> {
    let next = local_path(&form.next).to_owned();
    // No account has such a name, and the throttle would keep it, however long it is.
    if Accounts::name_refusal(&form.user).is_some() {
        return Ok(refused(&state, &peer, &next));
    }
    let wait = || state.throttle().wait(peer.address, &form.user, Instant::now());
    if let Some(wait) = wait() {
        return Ok(wait_first(wait, &next));
    }
    let name = form.user.clone();
    let user = state.database.run(move |db| db.user(&name)).await?;
    let _permit = state.password_checks.acquire().await;
    // Those who tried while this one waited for its turn may have used up the free tries.
    if let Some(wait) = wait() {
        return Ok(wait_first(wait, &next));
    }
    let (kept, given) = (user.map(|user| user.password_hash), form.password);
    let is_right = tokio::task::spawn_blocking(move || password::is_right(&given, kept.as_deref()));
    if !is_right.await.unwrap_or(false) {
        state.throttle().failed(peer.address, &form.user, Instant::now());
        return Ok(refused(&state, &peer, &next));
    }
    state.throttle().succeeded(peer.address, &form.user);
    state.metrics.login(true);
    let secret = secret_text::new_secret().map_err(|error| Problem::internal(&error))?;
    let (hash, now, from) = (
        secret_text::hash(&secret),
        Timestamp::now(),
        peer.address.to_string(),
    );
    let name = form.user;
    state
        .database
        .run(move |db| db.start_session(&hash, &name, &from, now))
        .await?;
    let mut response = see_other(&next);
    if let Some(cookie) = session_cookie::set(&secret, peer.is_secure) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn log_out(
    State(state): State<AppState>,
    Extension(peer): Extension<RequestPeer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(secret) = session_cookie::read(&headers, peer.is_secure) {
        let hash = secret_text::hash(secret);
        state.database.run(move |db| db.end_session(&hash)).await?;
    }
    let mut response = see_other("/login");
    if let Some(cookie) = session_cookie::clear(peer.is_secure) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn refused(state: &AppState, peer: &RequestPeer, next: &str) -> Response {
    state.metrics.login(false);
    tracing::warn!(address = %peer.address, "a login with a wrong user or password was refused");
    back_to_login("wrong", next)
}

fn wait_first(wait: Duration, next: &str) -> Response {
    let seconds = wait.as_secs().max(1);
    let mut response = back_to_login("wait", next);
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn back_to_login(why: &str, next: &str) -> Response {
    see_other(&login_path(why, next))
}

/// The path of the login page that leads on to `next`. `why`: `wrong`, `wait` or nothing.
pub(crate) fn login_path(why: &str, next: &str) -> String {
    let mut query = String::new();
    if !why.is_empty() {
        query = format!("?error={why}");
    }
    if next != "/" {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str("next=");
        for byte in next.bytes() {
            match byte {
                b'/' | b'-' | b'_' | b'.' => query.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => query.push(char::from(byte)),
                byte => query.extend([format!("%{byte:02X}")]),
            }
        }
    }
    format!("/login{query}")
}

fn see_other(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

/// A path of this console, so that a link to the login leads nowhere else; `/` for anything else.
fn local_path(text: &str) -> &str {
    let is_local = text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains('\\')
        && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if is_local { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_leads_only_to_this_console() {
        for (given, path) in [
            ("/search?q=a%20b", "/search?q=a%20b"),
            ("", "/"),
            ("https://example.com", "/"),
            ("//example.com", "/"),
            ("/\\example.com", "/"),
            ("/a\r\nSet-Cookie: x=y", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(local_path(given), path, "{given:?}");
        }
        assert_eq!(
            login_path("wrong", "/search?q=a&b"),
            "/login?error=wrong&next=/search%3Fq%3Da%26b"
        );
        assert_eq!(login_path("", "/"), "/login");
    }
}
