//! Each route of `openapi.json` is asked, and its answers are compared with what the document says.

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
async fn check(console: &Running, document: &Value, (method, route): (&str, &str), asked: Ask) -> u16 {
    let operation = &document["paths"][route][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {route} is not in the document");
    let answer = console.send(asked.clone()).await;
    let response = &operation["responses"][answer.status.to_string()];
    assert!(
        response.is_object(),
        "{method} {route}: {} is not in the document: {}",
        answer.status,
        answer.text()
    );
    let kind = answer.header("content-type").unwrap_or_default().to_owned();
    let content = response["content"].as_object();
    let Some(content) = content else {
        assert_eq!(answer.body, b"", "{route}");
        return answer.status;
    };
    let bare = kind.split(';').next().unwrap_or_default();
    let named = content
        .iter()
        .find(|(name, _)| name.split(';').next() == Some(bare));
    let (_, named) = named.unwrap_or_else(|| panic!("{method} {route}: {kind} is not in the document"));
    if bare.ends_with("json") {
        let found = faults(document, &named["schema"], &answer.json(), route);
        assert!(
            found.is_empty(),
            "{method} {route}: {found:#?}\n{}",
            answer.text()
        );
    }
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_as_the_document_says() {
    let mut host = RelayFixture::new();
    let at = host.write(b"192.0.2.1 - - [21/Nov/2026:08:20:03 +0000] \"GET /a HTTP/1.1\" 503 5\n");
    host.count(&[Some(Level::Error)]);
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
