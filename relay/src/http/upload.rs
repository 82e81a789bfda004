//! `POST /upload`: how the old shippers' lines come in.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use logferry_ledger::UploadedBody;
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Hash16;
use tokio::sync::oneshot;

use super::{Context, Rejection, needs_room, read_body, stopping, submit};
use crate::admission::{self, Client, Refusal};
use crate::answered::LastAnswer;
use crate::committer::Answer;
use crate::encoding::Encoding;
use crate::pipeline::Job;
use crate::split::split;
use crate::uploads;

/// Stores what an old shipper posted, and answers how many lines that were.
pub(super) async fn upload(
    context: &Context,
    client: Client<'_>,
    last_answer: &LastAnswer,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    if !context.group.trust_source {
        // Before its body is taken in.
        admission::admit(&context.group, client, None)?;
    }
    needs_room(context)?;
    let mut body = read_body(
        context,
        request.into_body(),
        Encoding::Plain,
        None,
        context.limits.max_chunk,
    )
    .await?;
    let upload = crate::upload::parse(&body).map_err(|error| Rejection::bad_request(error.to_string()))?;
    let source = source(context, client, upload.host.as_deref())?;
    body.replace(&upload.lines);
    let split = split(&body, context.batch.timestamp, context.batch.window);
    let lines = split.lines();
    if lines == 0 {
        return Ok(stored(0));
    }
    let body_id = UploadedBody {
        source,
        lines: Hash16::of(&body),
    };
    let claim = context.claims.claim(body_id.clone()).await;
    let chunk = uploads::chunk(&context.group.name, body_id, body, split);
    let (reply, answered) = oneshot::channel();
    submit(context, Job::Store(Box::new(chunk), reply))?;
    match answered.await {
        Ok(Answer::Receipt(_)) => {
            last_answer.set(claim);
            Ok(stored(lines))
        }
        Ok(Answer::Wait(reason)) => Err(Rejection::wait(reason)),
        Err(_) => Err(stopping()),
    }
}

/// Whose lines they are: the host that the body names, where the group trusts it and knows the host, else whom the
/// client has shown to be. A known host that the client has shown not to be is refused.
fn source(context: &Context, client: Client<'_>, host: Option<&str>) -> Result<SourceId, Rejection> {
    let group = &context.group;
    let knows = |source: &SourceId| group.trust_source && group.sources.allows_name(source);
    match admission::admit(group, client, host) {
        Ok(source) => Ok(source),
        Err(refusal @ Refusal::OtherSource { .. }) if refusal.source_id().is_some_and(knows) => {
            Err(refusal.into())
        }
        Err(_) => Ok(admission::admit(group, client, None)?),
    }
}

fn stored(lines: u64) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("OK - {lines} lines"))));
    *response.status_mut() = StatusCode::OK;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    // A client that is told so closes its end when it has read this, and so shows that it has.
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
