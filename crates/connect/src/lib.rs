//! Connects to the first of a host's addresses that answers (RFC 8305): a next attempt begins when the one before has
//! failed or has not answered for [`STAGGER`], so an address that swallows packets costs a quarter of a second.
//!
//! How one attempt is made, and its time limit, is the caller's. Invariants: no address is tried twice; all attempts but
//! the one that succeeds are dropped, which closes their sockets. [`authorities()`] are whom a client of TLS trusts, and
//! [`refused_certificate()`] says why it did not.

mod authorities;
mod refused_certificate;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

pub use authorities::{AuthoritiesError, authorities, authority_certificates, certificates};
pub use refused_certificate::{TrustSettings, refused_certificate, tls_error};

/// The time between the beginnings of two attempts, unless one fails before (RFC 8305, section 5).
pub const STAGGER: Duration = Duration::from_millis(250);

/// The failed attempts, in the order in which they failed.
pub type Failures<E> = Vec<(SocketAddr, E)>;

/// An attempt at one address; `None` once it has ended.
type RunningAttempt<T, E> = Option<(SocketAddr, Pin<Box<dyn Future<Output = Result<T, E>> + Send>>)>;

/// The addresses of a host, in the order in which to try them: at least one. The look-up takes at most `limit`.
pub async fn look_up(host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let found = timeout(limit, lookup_host((host, port))).await;
    let found = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let found = in_turn(found);
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the host name has no address",
        ));
    }
    Ok(found)
}

/// Connects by TCP to the first address that answers. Each attempt takes at most `limit`.
pub async fn connect(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let attempt = move |address| async move {
        let connected = timeout(limit, TcpStream::connect(address)).await;
        connected.map_err(|_| io::ErrorKind::TimedOut.into()).flatten()
    };
    let connected = connect_by(addresses, attempt).await;
    let (_, stream) = connected.map_err(combined)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The result of the first attempt that succeeds, and its address.
///
/// Cancel safe if `attempt` is: a drop drops all attempts.
pub async fn connect_by<T, E, F>(
    addresses: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Failures<E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    connect_staggered(addresses, STAGGER, attempt).await
}

async fn connect_staggered<T, E, F>(
    addresses: &[SocketAddr],
    stagger: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Failures<E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut rest = addresses.iter();
    let mut running: Vec<RunningAttempt<T, E>> = Vec::new();
    let mut failures = Failures::new();
    loop {
        let next = rest.next();
        if let Some(&address) = next {
            running.push(Some((address, Box::pin(attempt(address)))));
        }
        if running.is_empty() {
            return Err(failures);
        }
        // The last one has no other to make room for.
        let until = (next.is_some() && !rest.as_slice().is_empty()).then(|| Instant::now() + stagger);
        match first_end(&mut running, until).await {
            Some((address, Ok(connected))) => return Ok((address, connected)),
            Some((address, Err(error))) => failures.push((address, error)),
            None => {}
        }
        running.retain(Option::is_some);
    }
}

/// The next attempt that ends; `None` if none has by `until`.
async fn first_end<T, E>(
    running: &mut [RunningAttempt<T, E>],
    until: Option<Instant>,
) -> Option<(SocketAddr, Result<T, E>)> {
    let ended = poll_fn(|cx| {
        for slot in running.iter_mut() {
            if let Some((address, attempt)) = slot
                && let Poll::Ready(result) = attempt.as_mut().poll(cx)
            {
                let address = *address;
                *slot = None;
                return Poll::Ready((address, result));
            }
        }
        Poll::Pending
    });
    let Some(until) = until else {
        return Some(ended.await);
    };
    tokio::select! {
        biased;
        ended = ended => Some(ended),
        () = sleep_until(until) => None,
    }
}

/// One error for all attempts: of one address it is the error itself, of several it names each.
pub fn combined(mut failures: Failures<io::Error>) -> io::Error {
    let Some((last, error)) = failures.pop() else {
        return io::Error::new(io::ErrorKind::NotFound, "there is no address");
    };
    if failures.is_empty() {
        return error;
    }
    let kind = error.kind();
    failures.push((last, error));
    let each: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{}: {error}", address.ip()))
        .collect();
    io::Error::new(kind, each.join("; "))
}

/// The addresses in the resolver's order, but the families in turn, beginning with that of the first (RFC 8305, section 4).
fn in_turn(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let is_first = |address: &SocketAddr| matches!(address.ip(), IpAddr::V6(_)) == first_is_ipv6;
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return ordered;
        }
        ordered.extend(pair.0);
        ordered.extend(pair.1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use tokio::net::{TcpListener, TcpSocket};
    use tokio::sync::Semaphore;

    use super::*;

    const NEVER: Duration = Duration::from_hours(1);
    const SOON: Duration = Duration::from_millis(1);

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// What an address does with an attempt.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Behaviour {
        Swallows,
        Refuses,
        Answers,
        /// Answers once another address has refused.
        AnswersLate,
    }

    /// Tries addresses that behave so; returns the number of the one that answered, or how many failures are told, and the
    /// attempts in the order of their beginning.
    async fn tried(stagger: Duration, behaviours: &[Behaviour]) -> (Result<u16, usize>, Vec<u16>) {
        let numbered = (0u16..).zip(behaviours);
        let addresses: Vec<_> = numbered
            .map(|(number, _)| SocketAddr::from(([192, 0, 2, 1], number)))
            .collect();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let refusals = Arc::new(Semaphore::new(0));
        let attempt = |address: SocketAddr| {
            let (begun, refusals, port) = (Arc::clone(&begun), Arc::clone(&refusals), address.port());
            let behaviour = behaviours[usize::from(port)];
            async move {
                begun.lock().expect("no panic").push(port);
                match behaviour {
                    Behaviour::Swallows => pending().await,
                    Behaviour::Refuses => {
                        refusals.add_permits(1);
                        Err(())
                    }
                    Behaviour::Answers => Ok(port),
                    Behaviour::AnswersLate => refusals.acquire().await.map(|_| port).map_err(drop),
                }
            }
        };
        let connected = connect_staggered(&addresses, stagger, attempt).await;
        let begun = begun.lock().expect("no panic").clone();
        let connected = connected.map(|(_, port)| port);
        (connected.map_err(|failures| failures.len()), begun)
    }

    use Behaviour::{Answers, AnswersLate, Refuses, Swallows};

    #[tokio::test]
    async fn an_address_that_swallows_packets_costs_one_stagger() {
        assert_eq!(tried(SOON, &[Swallows, Answers]).await, (Ok(1), vec![0, 1]));
    }

    #[tokio::test]
    async fn after_a_refusal_the_next_address_is_tried_at_once() {
        let (connected, begun) = tried(NEVER, &[Refuses, Refuses, Answers]).await;
        assert_eq!((connected, begun), (Ok(2), vec![0, 1, 2]));
    }

    #[tokio::test]
    async fn a_slow_first_address_still_wins_if_the_others_do_not_answer() {
        let (connected, begun) = tried(SOON, &[AnswersLate, Swallows, Refuses]).await;
        assert_eq!((connected, begun), (Ok(0), vec![0, 1, 2]));
        let (connected, begun) = tried(NEVER, &[Answers, Answers]).await;
        assert_eq!((connected, begun), (Ok(0), vec![0]), "the second is not asked");
    }

    #[tokio::test]
    async fn if_all_fail_each_failure_is_told() {
        assert_eq!(tried(NEVER, &[Refuses, Refuses]).await.0, Err(2));
        assert_eq!(tried(NEVER, &[]).await.0, Err(0));
        let failures = ["192.0.2.1:22", "[2001:db8::1]:22"]
            .map(|text| (address(text), io::Error::from(io::ErrorKind::ConnectionRefused)));
        let error = combined(failures.into());
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            error.to_string(),
            "192.0.2.1: connection refused; 2001:db8::1: connection refused"
        );
    }

    #[test]
    fn families_take_turns_and_no_address_comes_twice() {
        let found = [
            "[2001:db8::1]:1",
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
            "192.0.2.1:1",
        ];
        let ordered = in_turn(found.into_iter().map(address));
        let wanted = ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1"].map(address);
        assert_eq!(ordered, wanted);
    }

    /// The backlog of the first listener is full, so the kernel drops each further SYN to it.
    #[tokio::test]
    async fn a_listener_that_answers_no_syn_does_not_keep_from_the_next_address() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(address("127.0.0.1:0")).expect("a port");
        let silent = socket.listen(1).expect("a listener");
        let swallows = silent.local_addr().expect("bound");
        let mut fill = Vec::new();
        while let Ok(filling) = timeout(Duration::from_millis(100), TcpStream::connect(swallows)).await {
            fill.push(filling.expect("taken into the backlog"));
        }
        let answers = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let wanted = answers.local_addr().expect("bound");
        let stream = connect(&[swallows, wanted], Duration::from_mins(1)).await;
        assert_eq!(stream.expect("connected").peer_addr().expect("a peer"), wanted);
    }
}
