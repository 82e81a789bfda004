//! Mistakes in passwords, keys, tokens and certificates.

use std::fs;
use std::process::Command;

use crate::{FORWARDER, HOST_KEY, Host, RELAY, SENDER, authority, certificate, openssl};

fn forwarder(login: &str) -> String {
    format!("{FORWARDER}      known_hosts: DIR/known_hosts\n      {login}\n")
}

fn host_with_known_hosts() -> Host {
    let host = Host::new();
    host.write("known_hosts", &format!("127.0.0.1 ssh-ed25519 {HOST_KEY}\n"));
    host
}

/// Makes an SSH key, `key` and `key.pub`.
fn ssh_key(host: &Host, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
        .arg(host.path("key"))
        .status();
    assert!(made.unwrap().success());
}

#[test]
fn the_password_file_of_a_destination_is_missing() {
    assert_eq!(
        host_with_known_hosts().check(&forwarder("password_file: DIR/password")),
        "logferry: DIR/logferry.yaml:10: forwarder.destinations[0].password_file: DIR/password cannot be read: there is no such \
         file; check its path and permissions\n\
         exit code 2\n"
    );
}

#[test]
fn the_password_file_of_a_destination_is_empty() {
    let host = host_with_known_hosts();
    host.write("password", "\n");
    assert_eq!(
        host.check(&forwarder("password_file: DIR/password")),
        "logferry: DIR/logferry.yaml:10: forwarder.destinations[0].password_file: the file DIR/password is empty; put the secret in \
         its first line\n\
         exit code 2\n"
    );
}

#[test]
fn key_and_known_hosts_of_a_destination_are_missing() {
    assert_eq!(
        Host::new().check(&forwarder("key_file: DIR/key")),
        "✗ forwarder: destination edw: key_file DIR/key does not exist; make the key (`ssh-keygen -t ed25519 -f DIR/key`), or correct the path\n\
         ✗ forwarder: destination edw: known_hosts DIR/known_hosts does not exist; `logferry trust edw` shows the host key and writes it there\n\
         exit code 1\n"
    );
}

#[test]
fn known_hosts_of_a_destination_is_rubbish() {
    let host = host_with_known_hosts();
    host.write("password", "open sesame\n");
    let config = forwarder("password_file: DIR/password");
    host.write(
        "known_hosts",
        &format!("# servers\nrubbish\n127.0.0.1 ssh-ed25519 {HOST_KEY}\n"),
    );
    assert_eq!(host.check(&config), "exit code 0\n", "the host's key is there");
    host.write(
        "known_hosts",
        &format!("# servers\nother ssh-ed25519 {HOST_KEY}\n127.0.0.1 ssh-ed25519 AAAA\n"),
    );
    assert_eq!(
        host.check(&config),
        "✗ forwarder: destination edw: known_hosts DIR/known_hosts:3: this is no host key that can be read, and no other line has one of \
         [127.0.0.1]:1; a line is like `[127.0.0.1]:1 ssh-ed25519 AAAA…`; `logferry trust edw` shows the host key and writes it \
         there\n\
         exit code 1\n"
    );
}

#[test]
fn the_key_of_a_destination_is_its_public_half() {
    let host = host_with_known_hosts();
    ssh_key(&host, "");
    host.mode("key.pub", 0o600);
    assert_eq!(
        host.check(&forwarder("key_file: DIR/key.pub")),
        "✗ forwarder: destination edw: cannot use the key file DIR/key.pub: it is a public key; set `key_file` to the private half, which has the \
         name without .pub\n\
         exit code 1\n"
    );
}

#[test]
fn the_key_of_a_destination_has_a_passphrase_that_is_not_configured() {
    let host = host_with_known_hosts();
    ssh_key(&host, "open sesame");
    assert_eq!(
        host.check(&forwarder("key_file: DIR/key")),
        "✗ forwarder: destination edw: cannot use the key file DIR/key without its passphrase; set `passphrase_file`, or make a key without a \
         passphrase\n\
         exit code 1\n"
    );
}

#[test]
fn a_token_of_the_relay_has_no_source_and_can_be_read_on_the_network() {
    let host = Host::new();
    host.write("tokens", "0123456789abcdef0123456789abcdef\n");
    assert_eq!(
        host.check(&format!("{RELAY}  tokens_file: DIR/tokens\n")),
        "! configuration: relay.tokens_file: without `tls`, tokens can be read on the network; set tls too\n\
         ✗ relay: relay.tokens_file: DIR/tokens cannot be used: line 1: it is not `TOKEN SOURCE` or `TOKEN *`; write the source that the \
         token is for after it, or *\n\
         exit code 1\n"
    );
}

const TLS: &str = "  tls: {cert_file: DIR/cert.pem, key_file: DIR/key.pem}\n";

fn host_with_certificate(days: i32) -> Host {
    let host = Host::new();
    authority(host.0.path(), "ours");
    certificate(host.0.path(), "ours", days);
    host
}

#[test]
fn the_relays_certificate_has_another_key() {
    let host = host_with_certificate(30);
    openssl(host.0.path(), "genpkey -algorithm ed25519 -out key.pem");
    assert_eq!(
        host.check(&format!("{RELAY}{TLS}")),
        "✗ relay: relay.tls.cert_file: DIR/cert.pem cannot be used: the key in DIR/key.pem is not the key of this certificate (keys may not be \
         consistent: KeyMismatch); put both of one pair there\n\
         exit code 1\n"
    );
}

#[test]
fn the_relays_certificate_and_key_are_swapped() {
    let host = host_with_certificate(30);
    let swapped = "  tls: {cert_file: DIR/key.pem, key_file: DIR/cert.pem}\n";
    host.mode("cert.pem", 0o600);
    assert_eq!(
        host.check(&format!("{RELAY}{swapped}")),
        "✗ relay: relay.tls.cert_file: DIR/key.pem cannot be used: it contains a private key and no certificate; are cert_file and key_file \
         swapped?\n\
         exit code 1\n"
    );
}

#[test]
fn the_relays_certificate_has_expired() {
    let host = Host::new();
    authority(host.0.path(), "ours");
    certificate(host.0.path(), "ours", -1);
    let said = host.check(&format!("{RELAY}{TLS}"));
    let (before, rest) = said.split_once(" at 20").expect(&said);
    let (_, after) = rest.split_once("Z, ").expect(&said);
    assert_eq!(
        format!("{before} at TIME, {after}"),
        "✗ relay: relay.tls.cert_file: DIR/cert.pem cannot be used: the certificate has expired at TIME, senders refuse it; put a renewed one \
         there\n\
         exit code 1\n"
    );
}

#[test]
fn the_authority_of_the_mail_server_and_of_the_relay_is_no_certificate() {
    let host = Host::new();
    host.write("ca.pem", "hello\n");
    let text = format!(
        "{}  logs: [{{path: DIR/access.log}}]\n  tls: {{ca_file: DIR/ca.pem}}\nmonitor:\n  data_dir: DIR\n  smtp: {{host: m, from: \
         a@b.c, to: [a@b.c], tls: starttls, ca_file: DIR/ca.pem}}\n",
        SENDER.replace("http:", "https:")
    );
    assert_eq!(
        host.check(&text),
        "✗ sender: DIR/ca.pem of sender.tls.ca_file cannot be used: there is no certificate in it; it must be PEM, with BEGIN CERTIFICATE\n\
         ✗ monitor: cannot use DIR/ca.pem of monitor.smtp.ca_file: it holds no certificate in PEM form; it must hold the certificates of your \
         authorities, in PEM form\n\
         exit code 1\n"
    );
}

#[test]
fn a_secret_can_be_read_by_everybody() {
    let host = host_with_known_hosts();
    host.write("password", "open sesame\n");
    host.mode("password", 0o644);
    fs::remove_file(host.path("known_hosts")).unwrap();
    assert_eq!(
        host.check(&forwarder("password_file: DIR/password")),
        "! configuration: forwarder.destinations[0].password_file: DIR/password holds a secret and every user can read it; run chmod o-r \
         DIR/password\n\
         ✗ forwarder: destination edw: known_hosts DIR/known_hosts does not exist; `logferry trust edw` shows the host key and writes it there\n\
         exit code 1\n"
    );
}
