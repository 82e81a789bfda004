//! Who may what.

use jiff::SignedDuration;
use serde_json::json;

use super::http::{Ask, ask, get, post};
use super::relay_host::{RelayFixture, Running};
use crate::access::scope::AccessScope;

const PASSWORD: &str = "correct horse battery";

fn login(user: &str, password: &str, next: &str) -> Ask {
    let password = password.replace(' ', "+");
    post("/login").form(&format!("user={user}&password={password}&next={next}"))
}

async fn session(console: &Running, user: &str) -> String {
    let answer = console.send(login(user, PASSWORD, "%2Fsearch")).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/search")));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    cookie.split(';').next().expect("a pair").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_there_is_only_the_login() {
    let host = RelayFixture::new();
    let console = host.console("").await;
    for path in [
        "/api/v1/status",
        "/api/v1/openapi.json",
        "/api/v1/live",
        "/stream-logs",
        "/api/log_stats",
    ] {
        let answer = console.send(get(path)).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
        assert_eq!(answer.json()["status"], 401, "{path}");
    }
    let page = console
        .send(get("/windows?day=2026-11-21").with("accept", "text/html"))
        .await;
    assert_eq!(
        (page.status, page.header("location")),
        (303, Some("/login?next=/windows%3Fday%3D2026-11-21"))
    );
    let act = console.send(post("/api/logs/a@0/pin")).await;
    assert_eq!(act.status, 401);
    for path in ["/login", "/healthz"] {
        assert_eq!(console.send(get(path)).await.status, 200, "{path}");
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_that_no_account_can_have_is_refused_and_not_kept() {
    let host = RelayFixture::new();
    let console = host.console("").await;
    let name = "x".repeat(10_000);
    // Wrong passwords that are counted lead to a wait.
    for _ in 0..10 {
        let answer = console.send(login(&name, PASSWORD, "")).await;
        assert_eq!(answer.header("location"), Some("/login?error=wrong"));
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_begins_with_the_password_and_ends_with_the_logout_or_the_user() {
    let host = RelayFixture::new();
    let console = host.console("").await;
    console
        .accounts()
        .put_user("ops", PASSWORD, AccessScope::Read)
        .expect("added");
    let wrong = console.send(login("ops", "wrong password", "")).await;
    assert_eq!(wrong.header("location"), Some("/login?error=wrong"));
    assert_eq!(wrong.header("set-cookie"), None);
    let me = |cookie: &str| get("/api/v1/me").with("cookie", cookie);
    let cookie = session(&console, "ops").await;
    let answer = console.send(me(&cookie)).await;
    assert_eq!(answer.json(), json!({"name": "ops", "scope": "read"}));
    let refused = console
        .send(post("/api/logs/a@0/pin").with("cookie", &cookie))
        .await;
    assert_eq!(refused.status, 403, "a reader does not act");
    console.send(post("/logout").with("cookie", &cookie)).await;
    assert_eq!(console.send(me(&cookie)).await.status, 401);
    // Another password ends the sessions; so does the end of the user.
    let cookie = session(&console, "ops").await;
    console
        .accounts()
        .put_user("ops", PASSWORD, AccessScope::Act)
        .expect("changed");
    assert_eq!(console.send(me(&cookie)).await.status, 401);
    let cookie = session(&console, "ops").await;
    assert!(console.accounts().remove_user("ops").expect("removed"));
    assert_eq!(console.send(me(&cookie)).await.status, 401);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_counts_by_its_scope_until_it_expires_or_is_removed() {
    let host = RelayFixture::new();
    let console = host.console("").await;
    let mut accounts = console.accounts();
    let token = accounts.add_token("ci", AccessScope::Read, None).expect("added");
    let over = accounts.add_token("old", AccessScope::Act, Some(SignedDuration::ZERO));
    let over = over.expect("added");
    let me = |token: &str| get("/api/v1/me").with("authorization", &format!("Bearer {token}"));
    let answer = console.send(me(&token)).await;
    assert_eq!(answer.json(), json!({"name": "token ci", "scope": "read"}));
    assert_eq!(console.send(me(&over)).await.status, 401);
    assert_eq!(console.send(me("nonsense")).await.status, 401);
    let asked = post("/api/v1/requests").with("authorization", &format!("bearer {token}"));
    let refused = console
        .send(asked.json(&json!({"kind": "silence", "subject": "a", "seconds": 1, "why": "b"})))
        .await;
    assert_eq!(refused.status, 403);
    assert!(
        accounts.add_token("ci", AccessScope::Act, None).is_err(),
        "a name is given once"
    );
    assert!(accounts.list().expect("listed").tokens[0].last_used_at.is_some());
    assert!(accounts.remove_token("ci").expect("removed"));
    assert_eq!(console.send(me(&token)).await.status, 401);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_passwords_waits_and_other_pages_cannot_act() {
    let host = RelayFixture::new();
    let console = host.console("").await;
    for _ in 0..5 {
        console.send(login("ops", "guess guess", "")).await;
    }
    let waits = console.send(login("ops", "guess guess", "")).await;
    assert_eq!(waits.header("location"), Some("/login?error=wait"));
    assert!(waits.header("retry-after").is_some());
    console.stop().await;

    let console = host.open_console().await;
    for (header, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = console.send(post("/api/logs/a@0/pin").with(header, value)).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (403, Some("application/problem+json"))
        );
        assert!(answer.text().contains("another web page"), "{}", answer.text());
    }
    // A page of another name that leads here (DNS rebinding) is another page.
    let rebound = console.send(get("/api/v1/me").host("evil.example")).await;
    assert_eq!(rebound.status, 403);
    let own = console
        .send(post("/api/logs/a@0/pin").with("origin", "http://127.0.0.1"))
        .await;
    assert_eq!(own.status, 404, "there is no such line, but the page may ask");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_same_time_are_no_more_than_one_after_the_other() {
    let host = RelayFixture::new();
    let console = host.console("").await;
    let guesses: Vec<_> = (0..40)
        .map(|_| {
            let address = console.address;
            tokio::spawn(async move { login("ops", "guess guess", "").send(address).await })
        })
        .collect();
    let mut tried = 0;
    for guess in guesses {
        let answer = guess.await.expect("answered");
        tried += usize::from(answer.header("location") == Some("/login?error=wrong"));
    }
    // Those that are being checked when the fifth fails come to their end.
    let most = 5 + crate::access::password::CHECKS_MAX - 1;
    assert!((5..=most).contains(&tried), "{tried} passwords were tried");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_of_events_ends_with_its_session_or_token() {
    let mut host = RelayFixture::new();
    let console = host.console("").await;
    let mut accounts = console.accounts();
    accounts
        .put_user("ops", PASSWORD, AccessScope::Read)
        .expect("added");
    let token = accounts.add_token("ci", AccessScope::Read, None).expect("added");
    let cookie = session(&console, "ops").await;
    let by_session = get("/api/v1/live").with("cookie", &cookie);
    let by_token = get("/stream-logs").with("authorization", &format!("Bearer {token}"));
    let mut by_session = by_session.open(console.address).await;
    let mut by_token = by_token.open(console.address).await;
    for stream in [&mut by_session, &mut by_token] {
        stream.until(": keepalive").await;
    }
    accounts.remove_token("ci").expect("removed");
    by_token.ended().await;
    host.write(b"after the token\n");
    by_session.until("after the token").await;
    console.send(post("/logout").with("cookie", &cookie)).await;
    by_session.ended().await;
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_keep_lines_from_being_run() {
    let host = RelayFixture::new();
    let console = host.open_console().await;
    for asked in [
        get("/"),
        get("/nowhere"),
        get("/api/v1/status"),
        ask("PATCH", "/"),
        get("/assets/x/console.css"),
        get("/api/v1/lines/%0d%0aSet-Cookie:x"),
    ] {
        let answer = console.send(asked.clone()).await;
        assert_eq!(
            answer.header("content-security-policy"),
            Some(
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
                 frame-ancestors 'none'"
            ),
            "{asked:?}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("cache-control").is_some());
        assert_eq!(answer.header("set-cookie"), None);
    }
    let huge = post("/api/v1/requests").json(&json!({ "why": "x".repeat(70_000) }));
    assert_eq!(console.send(huge).await.status, 413);
    console.stop().await;
}
