//! Reading delivered files back.

use std::fs;

use logferry_config::Destination;
use logferry_forwarder::{
    DeliveredFile, DeliveryDifference, DeliveryError, FailureScope, VerifyProgress, verify,
};
use tokio_util::sync::CancellationToken;

use crate::delivering::publishing::text;
use crate::support::{Direction, Spool, Sshd, cutting_proxy, destination};

/// Puts files into the destination's folder as delivered.
fn deliver(sshd: &Sshd, count: u32, lines: u32) -> Vec<DeliveredFile> {
    let file = |number| {
        let (text, path) = (text(number, lines), sshd.drop_dir().join(format!("{number}.log")));
        fs::write(&path, &text).unwrap();
        DeliveredFile {
            path: path.to_str().unwrap().to_owned(),
            bytes: text.len() as u64,
            sha256: Some(Spool::sha256(&text)),
        }
    };
    (0..count).map(file).collect()
}

fn read_back(
    edw: &Destination,
    files: &[DeliveredFile],
) -> (
    Result<Vec<(usize, DeliveryDifference)>, DeliveryError>,
    VerifyProgress,
) {
    let mut seen = VerifyProgress::default();
    let result = verify(edw, files, &CancellationToken::new(), |progress| {
        assert!(progress.files >= seen.files && progress.bytes >= seen.bytes);
        seen = progress;
    });
    (result, seen)
}

#[test]
fn each_file_that_is_missing_short_longer_or_different_is_named() {
    let sshd = Sshd::start();
    let mut files = deliver(&sshd, 200, 300);
    let path = |number: usize| sshd.drop_dir().join(format!("{number}.log"));
    fs::remove_file(path(3)).unwrap();
    let whole = fs::read(path(5)).unwrap();
    fs::write(path(5), &whole[..100]).unwrap();
    fs::write(path(7), [&fs::read(path(7)).unwrap()[..], b"more"].concat()).unwrap();
    let mut altered = fs::read(path(150)).unwrap();
    altered[77] ^= 1;
    fs::write(path(150), &altered).unwrap();
    fs::write(path(151), b"").unwrap();
    (files[151].bytes, files[151].sha256) = (0, Some(Spool::sha256(b"")));
    // A folder can be opened by nobody as a file.
    fs::remove_file(path(199)).unwrap();
    fs::create_dir(path(199)).unwrap();
    let (differences, progress) = read_back(&destination("edw", &sshd), &files);
    let differences = differences.unwrap();
    assert_eq!(
        differences[..4],
        [
            (3, DeliveryDifference::Missing),
            (5, DeliveryDifference::Short { found: 100 }),
            (7, DeliveryDifference::Longer),
            (
                150,
                DeliveryDifference::Content {
                    found: Spool::sha256(&altered)
                }
            ),
        ]
    );
    assert!(
        matches!(&differences[4..], [(199, DeliveryDifference::Unreadable { reason })] if reason.contains("refused")),
        "{differences:?}"
    );
    assert_eq!(progress.files, 200);
}

#[test]
fn connection_that_breaks_is_opened_again_while_files_get_through() {
    let sshd = Sshd::start();
    let files = deliver(&sshd, 20, 9000);
    let proxy = cutting_proxy(sshd.port, vec![(Direction::ToClient, 2_000_000); 3]);
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let mut edw = destination("edw", &sshd);
    edw.port = proxy.port;
    let (differences, progress) = read_back(&edw, &files);
    assert_eq!(differences.unwrap(), []);
    assert_eq!(progress.files, 20);
    assert!(progress.bytes >= files.iter().map(|file| file.bytes).sum());
}

#[test]
fn destination_that_does_not_answer_is_an_error() {
    let (sshd, running) = (Sshd::prepare(""), Sshd::start());
    let files = deliver(&running, 1, 1);
    let (result, _) = read_back(&destination("edw", &sshd), &files);
    assert_eq!(result.unwrap_err().scope(), FailureScope::Destination);
    // One that answers and never brings a file through is one as well.
    let proxy = cutting_proxy(running.port, vec![(Direction::ToClient, 1000); 9]);
    running.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let mut edw = destination("edw", &running);
    edw.port = proxy.port;
    let (result, _) = read_back(&edw, &files);
    result.unwrap_err();
}
