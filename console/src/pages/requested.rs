//! The forms by which people ask other roles for something: retry, resend, silence. Each leads back to the page that it was on.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::REFERER;
use axum::response::Redirect;
use logferry_config::units::parse_duration;
use logferry_requests::RequestedAction;
use serde::Deserialize;

use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::{Actor, Principal};
use crate::pages::parts::links::query_text;

/// Where a batch is to be sent again.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResendForm {
    destination: String,
}

/// What is to be silent, and for how long.
#[derive(Debug, Deserialize)]
pub(crate) struct SilenceForm {
    subject: String,
    #[serde(rename = "for")]
    length: String,
    why: String,
}

/// A failed batch is tried again.
pub(crate) async fn retry(
    State(state): State<AppState>,
    Actor(principal): Actor,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Redirect, Problem> {
    let batches = vec![name];
    let asked = "Asked the forwarder to try it again";
    ask(
        &state,
        RequestedAction::Retry { batches },
        principal,
        (&headers, asked),
    )
    .await
}

/// A delivered batch is sent once more.
pub(crate) async fn resend(
    State(state): State<AppState>,
    Actor(principal): Actor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Form(form): Form<ResendForm>,
) -> Result<Redirect, Problem> {
    let new = RequestedAction::Resend {
        batches: vec![name],
        destination: Some(form.destination).filter(|name| !name.is_empty()),
    };
    let asked = "Asked the forwarder to deliver it once more";
    ask(&state, new, principal, (&headers, asked)).await
}

/// Nobody is told of a subject for a while; for no time: people are told again.
pub(crate) async fn silence(
    State(state): State<AppState>,
    Actor(principal): Actor,
    headers: HeaderMap,
    Form(form): Form<SilenceForm>,
) -> Result<Redirect, Problem> {
    let length = parse_duration(&form.length)
        .map_err(|_| Problem::bad_request("for: write a time such as 2h or 3d"))?;
    let new = RequestedAction::Silence {
        subject: form.subject,
        seconds: length.as_secs(),
        why: form.why,
    };
    let asked = if length.is_zero() {
        "Asked the monitor to end the silence"
    } else {
        "Asked the monitor to silence it"
    };
    ask(&state, new, principal, (&headers, asked)).await
}

async fn ask(
    state: &AppState,
    new: RequestedAction,
    principal: Principal,
    (headers, asked): (&HeaderMap, &str),
) -> Result<Redirect, Problem> {
    let action = state.checked(new).await?;
    state.ask(action, principal.name).await?;
    Ok(Redirect::to(&with_answer(back(headers), asked)))
}

/// The address with what its page says for a moment, in place of what it said before.
fn with_answer(path: &str, text: &str) -> String {
    let (path, fragment) = path.split_once('#').unwrap_or((path, ""));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept = query
        .split('&')
        .filter(|part| !part.is_empty() && !part.starts_with("done="));
    let done = format!("done={}", query_text(text));
    let query = kept.chain([done.as_str()]).collect::<Vec<_>>().join("&");
    let fragment = match fragment {
        "" => String::new(),
        fragment => format!("#{fragment}"),
    };
    format!("{path}?{query}{fragment}")
}

/// The page of this console that the form was on; the start page if the browser does not say. Only its path counts.
fn back(headers: &HeaderMap) -> &str {
    let from = headers.get(REFERER).and_then(|from| from.to_str().ok());
    let path = from.and_then(|from| {
        let (_, rest) = from.split_once("://")?;
        rest.find('/').and_then(|slash| rest.get(slash..))
    });
    path.filter(|path| !path.starts_with("//") && !path.contains('\\'))
        .unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn form_leads_back_to_a_page_of_this_console_alone() {
        for (from, to) in [
            ("http://127.0.0.1:8080/windows/a/1?x=y", "/windows/a/1?x=y"),
            ("https://evil.example//evil.example/", "/"),
            ("nonsense", "/"),
            ("http://host", "/"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REFERER, HeaderValue::from_static(from));
            assert_eq!(back(&headers), to, "{from}");
        }
        assert_eq!(back(&HeaderMap::new()), "/");
    }

    #[test]
    fn answer_stands_in_the_address_once() {
        for (from, to) in [
            ("/alerts", "/alerts?done=a%20b"),
            ("/alerts?days=7&done=x#top", "/alerts?days=7&done=a%20b#top"),
        ] {
            assert_eq!(with_answer(from, "a b"), to);
        }
    }
}
