//! Properties of the reply parser for any bytes from a server; for the fuzz target `sftp_reply` and its corpus test.

use crate::packets::reply::{Reply, first_packet};

/// Takes packets from the bytes and parses each as a reply. No field of a reply is longer than its packet. An
/// incomplete packet is never parsed.
#[expect(clippy::missing_panics_doc, reason = "that is how it says what does not hold")]
pub fn sftp_reply(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(packet)) = first_packet(rest) {
        let whole = &rest[..4 + packet.len()];
        if let Some(cut) = whole.split_last().map(|(_, cut)| cut) {
            assert_eq!(first_packet(cut), Ok(None), "half a packet");
        }
        if let Ok((id, reply)) = Reply::parse(packet) {
            let len = match &reply {
                Reply::Handle(bytes) | Reply::Data(bytes) | Reply::Extended(bytes) => bytes.len(),
                Reply::Status(_) | Reply::Attributes(_) => 0,
            };
            assert!(len <= packet.len(), "more than was sent");
            assert_eq!(
                Reply::parse(packet),
                Ok((id, reply)),
                "parsed otherwise the second time"
            );
        }
        rest = &rest[4 + packet.len()..];
    }
}

#[cfg(test)]
mod tests {
    use logferry_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn corpus_of_replies_holds() {
        for entry in corpus::entries("sftp_reply") {
            sftp_reply(&entry);
        }
    }

    proptest! {
        #[test]
        fn changed_corpus_of_replies_holds(dice: [u16; 6]) {
            sftp_reply(&corpus::mutant("sftp_reply", dice));
        }
    }
}
