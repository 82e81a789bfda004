//! A group's own threads for its requests.
//!
//! Decompressing a body, its checksum and the times of its lines take milliseconds of CPU. Because each group has its own
//! threads, a flooded group delays only its own requests; the system divides the processors among the groups.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;

use logferry_protocol::names::GroupName;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

/// Most threads of a group on any machine: the commit that follows runs on one thread.
const THREADS_MAX: usize = 4;

/// The number of threads of a group: at most half of the processors.
fn threads() -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (processors / 2).clamp(1, THREADS_MAX)
}

/// A group's runtime. Dropping it aborts its tasks.
#[derive(Debug)]
pub(crate) struct GroupRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl GroupRuntime {
    pub(crate) fn start(group: &GroupName) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads())
            .thread_name(format!("http-{group}"))
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Binds a port whose connections these threads serve.
    pub(crate) async fn bind(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let bound = self.handle.spawn(TcpListener::bind(address)).await;
        bound.map_err(io::Error::other).flatten()
    }
}

impl Drop for GroupRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop waits for the threads, which a task of another runtime must not do.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    #[tokio::test]
    async fn a_group_whose_threads_are_all_at_work_does_not_hold_up_another() {
        let group = |name: &str| GroupRuntime::start(&name.parse().expect("a name")).expect("threads");
        let (busy, idle) = (group("a"), group("b"));
        let (release, held): (Vec<_>, Vec<Receiver<()>>) = (0..4 * threads()).map(|_| channel()).unzip();
        let (started, first) = channel();
        for held in held {
            let started = started.clone();
            // It works on until it is told to end.
            busy.handle().spawn(async move {
                let _ = (started.send(()), held.recv());
            });
        }
        for _ in 0..threads() {
            first.recv().expect("it is at work");
        }
        let listener = idle.bind(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let accepted = idle
            .handle()
            .spawn(async move { listener.accept().await.is_ok() });
        std::net::TcpStream::connect(address).expect("a listener");
        assert!(accepted.await.expect("it ends"));
        drop(release);
    }
}
