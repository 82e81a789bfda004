//! What the kernel has dropped of a UDP socket's datagrams: the last column of `/proc/net/udp` (`proc_net(5)`).

use std::fs;
use std::os::fd::AsFd;
use std::os::linux::fs::MetadataExt;

use tokio::net::UdpSocket;

#[derive(Debug)]
pub(super) struct KernelDrops {
    inode: Option<u64>,
    last: u64,
}

impl KernelDrops {
    /// Counts from the beginning of the socket.
    pub(super) fn new(socket: &UdpSocket) -> Self {
        Self {
            inode: inode(socket),
            last: 0,
        }
    }

    /// How many datagrams were dropped since this was last asked; 0 if the kernel does not say.
    pub(super) fn since_last_look(&mut self) -> u64 {
        let Some(inode) = self.inode else { return 0 };
        let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
        let mut tables = tables
            .into_iter()
            .filter_map(|table| fs::read_to_string(table).ok());
        let Some(total) = tables.find_map(|table| drops_in(&table, inode)) else {
            return 0;
        };
        total.saturating_sub(std::mem::replace(&mut self.last, total))
    }
}

fn inode(socket: &UdpSocket) -> Option<u64> {
    let file = fs::File::from(socket.as_fd().try_clone_to_owned().ok()?);
    Some(file.metadata().ok()?.st_ino())
}

/// The drops of the socket with that inode. The columns: slot, addresses, state, queues, timer, retransmits, uid, timeout,
/// inode, references, pointer, drops.
fn drops_in(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let is_this = columns.nth(9)?.parse() == Ok(inode);
        is_this.then(|| columns.nth(2)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
        2201: 0100007F:0202 00000000:0000 07 00000000:00033D00 00:00000000 00000000     0        0 555 2 0000000000000000 93412\n \
        2202: 00000000:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 556 2 0000000000000000 0\n";

    #[test]
    fn drops_are_those_of_the_socket_with_the_inode() {
        assert_eq!(drops_in(TABLE, 555), Some(93_412));
        assert_eq!(drops_in(TABLE, 556), Some(0));
        assert_eq!(drops_in(TABLE, 557), None);
        assert_eq!(drops_in("", 555), None);
    }

    /// Nobody reads, so the kernel's buffer overflows.
    #[tokio::test]
    async fn kernel_counts_what_it_drops() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4096);
        let mut drops = KernelDrops::new(&socket);
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        for _ in 0..500 {
            client.send_to(&[b'x'; 500], address).await.expect("sent");
        }
        let mut buffer = [0; 1000];
        let mut kept = 0;
        while socket.try_recv(&mut buffer).is_ok() {
            kept += 1;
        }
        assert_eq!(drops.since_last_look() + kept, 500);
        assert!(kept < 500);
        assert_eq!(drops.since_last_look(), 0);
    }
}
