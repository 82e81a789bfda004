//! What roles are asked to do: the file that they read, and the outcome that the console takes.

use jiff::Timestamp;
use logferry_ledger::LedgerError;
use logferry_requests::{ConsoleRequest, RequestFolder, RequestedAction, carry_out_all};
use serde_json::json;

use super::http::{get, post};
use super::relay_host::{RelayFixture, SOURCE};

#[tokio::test(flavor = "multi_thread")]
async fn request_waits_as_a_file_until_a_role_has_carried_it_out() {
    let mut host = RelayFixture::new();
    host.write(b"one\n");
    let console = host.open_console().await;
    let name = host.batch.name();
    let asked = console
        .send(post("/api/v1/requests").json(&json!({"kind": "retry", "batches": [name]})))
        .await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let id = asked.json()["id"].as_str().expect("an id").to_owned();
    let folder = RequestFolder::of(&console.settings.state_dir);
    assert_eq!(folder.list().expect("listed").len(), 1);
    let state_dir = console.settings.state_dir.clone();
    console.stop().await;

    // A crash between record and file: the next start writes the file.
    RequestFolder::of(&state_dir).remove(&id).expect("removed");
    let console = host.open_console().await;
    let wait = async |what: &str, is: &dyn Fn(usize) -> bool| {
        for _ in 0..3000 {
            if is(folder.list().expect("listed").len()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{what}");
    };
    wait("the file comes back", &|files| files == 1).await;
    carry_out_all(&folder, &mut host.ledger, Timestamp::now(), |_, request| {
        Ok::<_, LedgerError>((request.id == id).then(|| "1 batch ready again".to_owned()))
    })
    .expect("carried out");
    wait("the file goes with its outcome", &|files| files == 0).await;
    // The file goes first.
    let mut outcome = serde_json::Value::Null;
    for _ in 0..3000 {
        let listed = console.send(get("/api/v1/requests")).await.json();
        outcome = listed[0]["outcome"].clone();
        if !outcome.is_null() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(outcome, "1 batch ready again");
    let trail = console
        .send(get(&format!("/api/v1/actions?subject={name}")))
        .await
        .json();
    let details: Vec<_> = trail
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["detail"].clone())
        .collect();
    assert_eq!(
        details,
        [format!("{id}: 1 batch ready again"), format!("asked for as {id}")]
    );
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn form_is_answered_and_its_request_is_shown_until_it_is_done() {
    let mut host = RelayFixture::new();
    host.write(b"one\n");
    let console = host.open_console().await;
    let name = host.batch.name();
    let page = format!("/windows/{SOURCE}/{}", host.batch.window.start);
    let shown = |text: &str| text.contains("has asked the forwarder to try it again");
    assert!(!shown(&console.send(get(&page)).await.text()));
    let asked = console
        .send(post(&format!("/batches/{name}/retry")).with("referer", &format!("http://host{page}")))
        .await;
    assert_eq!(asked.status, 303, "{}", asked.text());
    let location = asked.header("location");
    let expected = format!("{page}?done=Asked%20the%20forwarder%20to%20try%20it%20again");
    assert_eq!(location, Some(expected.as_str()));
    assert!(shown(&console.send(get(&page)).await.text()));
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_at_once() {
    let mut host = RelayFixture::new();
    host.make_contact();
    let console = host.open_console().await;
    for body in [
        json!({"kind": "retry", "batches": ["nothing"]}),
        json!({"kind": "retry", "batches": []}),
        json!({"kind": "resend", "batches": ["a"], "destination": "nowhere"}),
        json!({"kind": "silence", "subject": "", "seconds": 1, "why": "x"}),
        json!({"kind": "silence", "subject": "a", "seconds": 1, "why": "two\nlines"}),
        json!({"kind": "silence", "subject": "a", "seconds": 99_999_999, "why": "long"}),
    ] {
        let answer = console.send(post("/api/v1/requests").json(&body)).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let silence = |subject: &str, seconds| {
        let body = json!({"kind": "silence", "subject": subject, "seconds": seconds, "why": "x"});
        console.send(post("/api/v1/requests").json(&body))
    };
    let refused = silence("198.51.100.9", 60).await;
    assert_eq!(
        (refused.status, refused.json()["detail"].as_str()),
        (
            400,
            Some("there is no subject 198.51.100.9; the nearest known one is 198.51.100.1")
        )
    );
    let unknown = post("/api/v1/requests").json(&json!({"kind": "format_disk"}));
    assert_eq!(console.send(unknown).await.status, 422);
    assert_eq!(
        RequestFolder::of(&console.settings.state_dir)
            .list()
            .expect("listed"),
        []
    );
    assert_eq!(silence(SOURCE, 60).await.status, 202);
    assert_eq!(silence("198.51.100.9", 0).await.status, 202, "it ends one");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_was_left_by_a_request_that_is_over_goes_at_the_next_start() {
    let host = RelayFixture::new();
    let console = host.open_console().await;
    let folder = RequestFolder::of(&console.settings.state_dir);
    console.stop().await;
    let left = ConsoleRequest {
        id: "left".to_owned(),
        at: Timestamp::now(),
        who: "ann".to_owned(),
        action: RequestedAction::Retry {
            batches: vec!["a".to_owned()],
        },
    };
    folder.put(&left).expect("put");
    let console = host.open_console().await;
    for _ in 0..3000 {
        if folder.list().expect("listed").is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(folder.list().expect("listed"), []);
    console.stop().await;
}
