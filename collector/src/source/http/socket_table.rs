//! What the kernel says of a connection: whether the other host has taken all that was sent on it (`proc_net_tcp` in the kernel's
//! documentation).

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionAddresses {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
}

/// The states in which an acknowledgement of all bytes says that they were taken: no side has sent its end; this one has, and the
/// other is open; the other has. A host resets the connection, and acknowledges nothing, if bytes come for a client that has
/// closed, or if a client closes before it has read all. So an end from the other side after all bytes means that they were read.
const ALIVE: [&str; 3] = ["01", "05", "08"];

/// Whether the connection lives, and the other host has acknowledged all bytes that were sent. False if that is not known.
pub(super) fn has_taken_all(connection: ConnectionAddresses) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter();
    let tables = tables.filter_map(|path| fs::read_to_string(path).ok());
    tables.into_iter().any(|table| says_all_taken(&table, connection))
}

fn says_all_taken(table: &str, connection: ConnectionAddresses) -> bool {
    let [local, peer] = [connection.local, connection.peer].map(written);
    table.lines().any(|line| {
        // `0: 0100007F:1388 0100007F:D2F6 01 00000000:00000000 …`: number, ends, state, bytes to send and to read.
        let mut words = line.split_ascii_whitespace().skip(1);
        let mut next = || words.next().unwrap_or_default();
        let (here, there, state, queues) = (next(), next(), next(), next());
        let is_mine = local.iter().any(|end| end == here) && peer.iter().any(|end| end == there);
        is_mine && ALIVE.contains(&state) && queues.starts_with("00000000:")
    })
}

/// An end as the tables of IPv4 and of IPv6 write it: words of 32 bits in the order of this machine.
fn written(end: SocketAddr) -> [String; 2] {
    let words = |octets: &[u8]| {
        let words = octets.chunks_exact(4).filter_map(|word| word.try_into().ok());
        words
            .map(|word| format!("{:08X}", u32::from_ne_bytes(word)))
            .collect::<Vec<_>>()
            .concat()
    };
    let (four, six) = match end.ip() {
        IpAddr::V4(address) => (
            words(&address.octets()),
            words(&address.to_ipv6_mapped().octets()),
        ),
        IpAddr::V6(address) => {
            let mapped = address.to_ipv4_mapped().map(|address| words(&address.octets()));
            (mapped.unwrap_or_default(), words(&address.octets()))
        }
    };
    [four, six].map(|address| format!("{address}:{:04X}", end.port()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn open_connection_whose_peer_has_all_is_told_from_one_that_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
        let (mut server, peer) = listener.accept().expect("a client");
        let connection = ConnectionAddresses {
            local: server.local_addr().expect("bound"),
            peer,
        };
        server.write_all(b"answer").expect("sent");
        while !has_taken_all(connection) {
            std::thread::yield_now();
        }
        // It has not read the answer.
        drop(client);
        while has_taken_all(connection) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn client_that_closes_after_reading_has_taken_all_and_one_that_closed_before_has_not() {
        for reads_it in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
            let (mut server, peer) = listener.accept().expect("a client");
            let local = server.local_addr().expect("bound");
            if reads_it {
                server.write_all(b"answer").expect("sent");
                client.read_exact(&mut [0; 6]).expect("the answer");
                drop(client);
            } else {
                drop(client);
                assert_eq!(server.read(&mut [0; 1]).expect("its end"), 0);
                server.write_all(b"answer").expect("given to the kernel");
            }
            // The end, or the reset, is there.
            let _ = server.read(&mut [0; 1]);
            assert_eq!(has_taken_all(ConnectionAddresses { local, peer }), reads_it);
        }
    }

    #[test]
    fn bytes_that_wait_and_ends_that_are_others_do_not_count() {
        let connection = ConnectionAddresses {
            local: "127.0.0.1:5000".parse().expect("an address"),
            peer: "127.0.0.1:54006".parse().expect("an address"),
        };
        let line = |rest: &str| {
            format!("  sl  local_address rem_address\n   0: 0100007F:1388 0100007F:{rest} 00:0\n")
        };
        assert!(says_all_taken(&line("D2F6 01 00000000:00000000"), connection));
        assert!(!says_all_taken(&line("D2F6 01 00000010:00000000"), connection));
        assert!(says_all_taken(&line("D2F6 08 00000000:00000001"), connection));
        assert!(!says_all_taken(&line("D2F6 08 00000010:00000000"), connection));
        assert!(!says_all_taken(&line("D2F6 07 00000000:00000000"), connection));
        assert!(!says_all_taken(&line("D2F7 01 00000000:00000000"), connection));
        let mapped = "0000000000000000FFFF00000100007F";
        let line = format!("0: {mapped}:1388 {mapped}:D2F6 01 00000000:00000000 00:0");
        assert!(says_all_taken(&line, connection));
    }
}
