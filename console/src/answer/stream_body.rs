//! A body that is written while it is read: live streams and exports. A slow reader slows its writer; one that goes away is noticed
//! by the next write.

use std::convert::Infallible;
use std::pin::Pin;
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

/// A body and its writer. It ends when the writer is dropped.
pub(crate) fn body() -> (BodyWriter, Body) {
    let (writer, pieces) = mpsc::channel(PIECES_MAX);
    (writer, Body::new(StreamBody(pieces)))
}

struct StreamBody(Receiver<Bytes>);

impl hyper::body::Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
