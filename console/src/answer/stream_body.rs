//! A body that is written while it is read: live streams and exports. A slow reader slows its writer; one that goes away is noticed
//! by the next write.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::HeaderName;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// nginx in front of the console would keep a body back until its buffer is full: with `no` it does not.
pub(crate) const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Pieces that wait for a slow reader.
const PIECES_MAX: usize = 2;

/// The end at which a body is written.
pub(crate) type BodyWriter = Sender<Bytes>;

/// What a body ends with, if it is set before its last writer is dropped. It needs no reader: so a body can say why it ends to a
/// reader that takes nothing now.
pub(crate) type BodyEnding = Arc<OnceLock<Bytes>>;

/// A body and its writer. It ends when the writer is dropped.
pub(crate) fn body() -> (BodyWriter, Body) {
    let (writer, _, body) = body_with_ending();
    (writer, body)
}

/// The same, with what it ends with.
pub(crate) fn body_with_ending() -> (BodyWriter, BodyEnding, Body) {
    let (writer, pieces) = mpsc::channel(PIECES_MAX);
    let ending = BodyEnding::default();
    let body = StreamBody {
        pieces,
        ending: Some(Arc::clone(&ending)),
    };
    (writer, ending, Body::new(body))
}

struct StreamBody {
    pieces: Receiver<Bytes>,
    ending: Option<BodyEnding>,
}

impl hyper::body::Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(context).map(|piece| {
            let ending = || self.ending.take()?.get().cloned();
            piece.or_else(ending).map(|piece| Ok(Frame::data(piece)))
        })
    }
}
