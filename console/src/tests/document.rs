//! Each route of `openapi.json` is asked, and its answers are compared with what the document says.

use std::collections::BTreeSet;

use logferry_fields::Level;
use serde_json::{Map, Value, json};

use super::http::{Ask, ask, get};
use super::relay_host::{RelayFixture, Running, SOURCE};

/// What is wrong with a value by a schema; empty if it fits.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = document
            .pointer(name.trim_start_matches('#'))
            .expect("the schema is there");
        return faults(document, target, value, at);
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[key].as_array() {
            let fits = choices
                .iter()
                .any(|choice| faults(document, choice, value, at).is_empty());
            return if fits {
                Vec::new()
            } else {
                vec![format!("{at}: none of {key}: {value}")]
            };
        }
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all
            .iter()
            .flat_map(|part| faults(document, part, value, at))
            .collect();
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Vec::new(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !(kinds.contains(&kind) || kind == "integer" && kinds.contains(&"number")) {
        return vec![format!("{at}: {kind} is not {kinds:?}")];
    }
    if let (Some(words), Some(word)) = (schema["enum"].as_array(), value.as_str())
        && !words.iter().any(|known| known == word)
    {
        return vec![format!("{at}: `{word}` is not one of {words:?}")];
    }
    let mut found = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        found.extend(faults(document, &schema["items"], item, &format!("{at}[]")));
    }
    if let Some(object) = value.as_object() {
        found.extend(object_faults(document, schema, object, at));
    }
    found
}

fn object_faults(document: &Value, schema: &Value, object: &Map<String, Value>, at: &str) -> Vec<String> {
    let required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let missing = required.filter(|key| !object.contains_key(*key));
    let mut found: Vec<_> = missing.map(|key| format!("{at}: `{key}` is missing")).collect();
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = object.get(key) {
            found.extend(faults(document, schema, value, &format!("{at}.{key}")));
        }
    }
    found
}

/// Sends a request, and compares status and body with the operation in the document.
async fn check(console: &Running, document: &Value, operation: (&str, &str), asked: Ask) -> u16 {
    let compared = compare(console, document, operation, asked).await;
    compared.unwrap_or_else(|fault| panic!("{fault}"))
}

/// The status of the answer; what of it is not in the document, if anything.
async fn compare(
    console: &Running,
    document: &Value,
    (method, route): (&str, &str),
    asked: Ask,
) -> Result<u16, String> {
    let operation = &document["paths"][route][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {route} is not in the document");
    let answer = console.send(asked).await;
    let (status, text) = (answer.status, answer.text());
    let response = &operation["responses"][status.to_string()];
    if !response.is_object() {
        return Err(format!(
            "{method} {route}: {status} is not in the document: {text}"
        ));
    }
    let kind = answer.header("content-type").unwrap_or_default().to_owned();
    let content = response["content"].as_object();
    let Some(content) = content else {
        assert_eq!(answer.body, b"", "{route}");
        return Ok(status);
    };
    let bare = kind.split(';').next().unwrap_or_default();
    let named = content
        .iter()
        .find(|(name, _)| name.split(';').next() == Some(bare));
    let Some((_, named)) = named else {
        return Err(format!("{method} {route}: {kind} is not in the document"));
    };
    if bare == "application/json" || bare.ends_with("+json") {
        let found = faults(document, &named["schema"], &answer.json(), route);
        if !found.is_empty() {
            return Err(format!("{method} {route}: {found:#?}\n{text}"));
        }
    }
    Ok(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_as_the_document_says() {
    let mut host = RelayFixture::new();
    let at = host.write(b"192.0.2.1 - - [21/Nov/2026:08:20:03 +0000] \"GET /a HTTP/1.1\" 503 5\n");
    host.count(&[Some(Level::Error)]);
    host.make_contact();
    let console = host.open_console().await;
    let document = console.send(get("/api/v1/openapi.json")).await.json();
    assert_eq!(
        document["openapi"].as_str().map(|it| it.starts_with("3.")),
        Some(true)
    );
    let id = host.id(at);
    let start = host.batch.window.start;
    let fill = |route: &str| {
        route
            .replace("{id}", &id)
            .replace("{source}", SOURCE)
            .replace("{start}", &start.to_string())
            .replace("{name}", "mine")
    };
    let body = |method: &str, route: &str| match (method, route) {
        ("put", "/api/v1/lines/{id}/ticket") => Some(json!({"note": "x", "status": "in_progress"})),
        ("post", "/api/v1/searches") => Some(json!({"name": "mine", "query": "q=a"})),
        ("post", "/api/v1/requests") => {
            Some(json!({"kind": "silence", "subject": "web-1", "seconds": 60, "why": "test"}))
        }
        _ => None,
    };
    let mut routes = Vec::new();
    for (route, operations) in document["paths"].as_object().expect("paths") {
        for method in ["get", "put", "post", "delete"] {
            if operations[method].is_object() {
                routes.push((method, route.clone()));
            }
        }
    }
    assert!(routes.len() >= 25, "{routes:?}");
    // What makes things comes before what removes them.
    routes.sort_by_key(|(method, _)| {
        ["put", "post", "get", "delete"]
            .iter()
            .position(|known| known == method)
    });
    for (method, route) in &routes {
        if route == "/api/v1/live" {
            let mut stream = get(route).open(console.address).await;
            let head = stream.until(": keepalive").await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            continue;
        }
        let mut asked = ask(&method.to_uppercase(), &fill(route));
        if let Some(body) = body(method, route) {
            asked = asked.json(&body);
        }
        let status = check(&console, &document, (&method.to_uppercase(), route), asked).await;
        assert!((200..300).contains(&status), "{method} {route}: {status}");
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_in_the_document_too() {
    let host = RelayFixture::new();
    let console = host.console("").await;
    let token = console.token(crate::access::scope::AccessScope::Read);
    let asked = |ask: Ask| ask.with("authorization", &token);
    let document = console.send(asked(get("/api/v1/openapi.json"))).await.json();
    for (method, route) in
        document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(route, operations)| {
                let methods = ["get", "put", "post", "delete"].into_iter();
                methods
                    .filter(|method| operations[*method].is_object())
                    .map(move |method| (method, route))
            })
    {
        let method = method.to_uppercase();
        let path = route
            .replace("{id}", "a@0")
            .replace("{source}", "x")
            .replace("{start}", "1")
            .replace("{name}", "x");
        let status = check(&console, &document, (&method, route), ask(&method, &path)).await;
        assert_eq!(status, 401, "{method} {route}");
        if method != "GET" {
            let status = check(&console, &document, (&method, route), asked(ask(&method, &path))).await;
            assert_eq!(status, 403, "{method} {route}: a reader does not act");
        }
    }
    // There is no index here, and no batch.
    for (route, path, status) in [
        ("/api/v1/numbers", "/api/v1/numbers", 503),
        ("/api/v1/lines/{id}", "/api/v1/lines/a@0", 404),
        ("/api/v1/lines/{id}", "/api/v1/lines/a", 400),
        ("/api/v1/windows/{source}/{start}", "/api/v1/windows/a/1", 404),
        ("/api/v1/search", "/api/v1/search?limit=0", 400),
    ] {
        assert_eq!(
            check(&console, &document, ("GET", route), asked(get(path))).await,
            status,
            "{path}"
        );
    }
    console.stop().await;
}

/// Numbers that look like chance, the same in each run (<https://prng.di.unimi.it/splitmix64.c>).
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ (mixed >> 27)) >> 33).expect("31 bits") % count
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// Values of parameters, as an address has them: of each kind some that fit, and some that nobody means.
const VALUES: [&str; 32] = [
    "0",
    "1",
    "3",
    "-1",
    "2.5",
    "99999999999999999999",
    "true",
    "x",
    "*",
    "all",
    "open",
    "1h",
    "5m",
    "2026-11-21",
    "08%3A00",
    "5xx",
    "404",
    "error",
    "csv",
    "ndjson",
    "hour",
    "source",
    "a%400",
    "1%2Ca%400",
    "Europe%2FBerlin",
    "%22",
    "%5B",
    "%00",
    "%FF",
    "%E2%80%AE",
    "..%2F..",
    "field%3A%2F%2A",
];

/// A request of this route with parameters by chance.
fn some_request(
    chance: &mut Chance,
    known: &[&str],
    (method, route): (&str, &str),
    operation: &Value,
) -> Ask {
    let mut path = route.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().expect("a name");
        // A value of the past, or any.
        let value = if chance.below(3) == 0 {
            chance.of(known)
        } else {
            chance.of(&VALUES)
        };
        if parameter["in"] == "path" {
            path = path.replace(&format!("{{{name}}}"), value);
        } else if chance.below(3) == 0 {
            query.push(format!("{name}={value}"));
        }
    }
    let asked = ask(&method.to_uppercase(), &format!("{path}?{}", query.join("&")));
    if !operation["requestBody"].is_object() {
        return asked;
    }
    match chance.below(6) {
        0 => asked.form("{}"),
        1 => asked.form(&"x".repeat(70_000)),
        2 => asked.json(&json!({ "note": "x".repeat(70_000) })),
        3 => asked.json(&json!(["a", 1])),
        4 => asked.json(&json!({"kind": "retry", "batches": [], "name": "", "query": "", "note": 1})),
        _ => asked.json(&json!({"name": "a", "query": "q=a", "note": "n", "kind": "silence", "subject": "s", "seconds": 1, "why": "w"})),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_chance_are_answered_as_the_document_says() {
    let mut host = RelayFixture::new();
    let at = host.write(b"192.0.2.1 - - [21/Nov/2026:08:20:03 +0000] \"GET /a HTTP/1.1\" 503 5\n");
    host.count(&[Some(Level::Error)]);
    let console = host.console("  proxy: 127.0.0.1\n").await;
    let token = console.token(crate::access::scope::AccessScope::Act);
    let mut number = 0;
    let mut sent = |asked: Ask| {
        number += 1;
        let client = format!("2001:db8:{:x}::1", number / 50);
        asked
            .with("authorization", &token)
            .with("x-forwarded-for", &client)
    };
    let document = console.send(sent(get("/api/v1/openapi.json"))).await.json();
    let (id, start) = (
        host.id(at).replace('@', "%40"),
        host.batch.window.start.to_string(),
    );
    let known = [id.as_str(), SOURCE, &start, "mine"];
    let mut chance = Chance(18);
    let (mut seen, mut wrong) = (BTreeSet::new(), BTreeSet::new());
    for (route, operations) in document["paths"].as_object().expect("paths") {
        for method in ["get", "put", "post", "delete"] {
            let operation = &operations[method];
            // A live stream does not end.
            if !operation.is_object() || route == "/api/v1/live" {
                continue;
            }
            for _ in 0..25 {
                let asked = sent(some_request(&mut chance, &known, (method, route), operation));
                match compare(&console, &document, (&method.to_uppercase(), route), asked).await {
                    Ok(status) => seen.insert(status),
                    Err(fault) => wrong.insert(fault),
                };
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for status in [200, 400, 404, 413, 415, 422] {
        assert!(
            seen.contains(&status),
            "{status} was not among the answers: {seen:?}"
        );
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_their_page_ended_and_choose_before_they_are_cut() {
    let mut host = RelayFixture::new();
    let ids: Vec<_> = (0..5)
        .map(|number| {
            let at = host.write(format!("line {number}\n").as_bytes());
            host.id(at)
        })
        .collect();
    let console = host.open_console().await;
    for (number, id) in ids.iter().enumerate() {
        let status = if number == 0 { "open" } else { "done" };
        let ticket = ask("PUT", &format!("/api/v1/lines/{id}/ticket")).json(&json!({"status": status}));
        assert_eq!(console.send(ticket).await.status, 200);
        let pin = ask("PUT", &format!("/api/v1/lines/{id}/pin"));
        assert_eq!(console.send(pin).await.status, 200);
    }
    for list in [
        "/api/v1/tickets?show=done&limit=3",
        "/api/v1/tickets?limit=2",
        "/api/v1/pins?limit=2",
    ] {
        let (mut path, mut got) = (list.to_owned(), Vec::new());
        loop {
            let answer = console.send(get(&path)).await;
            for row in answer.json().as_array().expect("a list") {
                got.push(row["id"].as_str().expect("an id").to_owned());
            }
            let Some(link) = answer.header("link") else { break };
            path = link
                .trim_start_matches('<')
                .split('>')
                .next()
                .expect("an address")
                .to_owned();
        }
        let mut wanted = ids.clone();
        if list.contains("done") {
            wanted.remove(0);
        }
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{list}");
    }
    // The newest tickets are done: the open one is there all the same.
    let open = console
        .send(get("/api/v1/tickets?show=open&limit=1"))
        .await
        .json();
    assert_eq!(open[0]["id"], ids[0].as_str());
    for wrong in [
        "/api/v1/pins?after=x",
        "/api/v1/hidden?limit=0",
        "/api/v1/requests?limit=1001",
        "/api/v1/tickets?show=x",
    ] {
        assert_eq!(console.send(get(wrong)).await.status, 400, "{wrong}");
    }
    console.stop().await;
}
