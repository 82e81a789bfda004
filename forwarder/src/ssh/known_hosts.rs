//! Parses files of known host keys in OpenSSH's format (`sshd(8)`), finds a host's keys, and adds one. No I/O in here.
//!
//! Lines that cannot be parsed are ignored and kept unchanged.

use std::iter;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The port that a name without a port means.
const DEFAULT_PORT: u16 = 22;

/// A host to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownHost {
    /// The host in lower case, with its port unless that is the default one.
    name: String,
    /// The host without its port, if that is not the default one. A key known under this name is trusted too.
    without_port: Option<String>,
}

impl KnownHost {
    pub(super) fn new(host: &str, port: u16) -> Self {
        let host = host.to_ascii_lowercase();
        let (name, without_port) = match port {
            DEFAULT_PORT => (host, None),
            port => (format!("[{host}]:{port}"), Some(host)),
        };
        Self { name, without_port }
    }

    /// The name as the file has it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The parsed text of a file.
#[derive(Debug)]
pub(super) struct KnownHosts<'a> {
    /// Each line with its end, if it has one.
    lines: Vec<(&'a str, Option<KnownHostsEntry<'a>>)>,
}

#[derive(Debug)]
struct KnownHostsEntry<'a> {
    revoked: bool,
    /// Patterns separated by commas, or one hashed name.
    hosts: &'a str,
    key: Vec<u8>,
}

/// How a line names a host: by its own name (possibly hashed), or by a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostMatch {
    ByName,
    ByPattern,
}

impl<'a> KnownHosts<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let lines = text.split_inclusive('\n');
        Self {
            lines: lines.map(|line| (line, KnownHostsEntry::parse(line))).collect(),
        }
    }

    /// The number of the first line, from 1, that is neither empty nor a comment, and has no key that can be read.
    pub(super) fn first_unreadable(&self) -> Option<usize> {
        let is_unreadable = |(text, entry): &(&str, Option<KnownHostsEntry<'_>>)| {
            let text = text.trim();
            entry.is_none() && !text.is_empty() && !text.starts_with('#')
        };
        self.lines.iter().position(is_unreadable).map(|line| line + 1)
    }

    /// Whether a key is marked `@revoked` for any host: such a key is trusted for none.
    pub(super) fn is_revoked(&self, key: &[u8]) -> bool {
        self.entries().any(|entry| entry.revoked && entry.key == key)
    }

    /// The keys that are trusted for a host.
    pub(super) fn trusted(&self, host: &KnownHost) -> Vec<&[u8]> {
        let names = iter::once(&host.name).chain(&host.without_port);
        self.keys(|entry| names.clone().any(|name| entry.matches(name).is_some()))
    }

    /// Whether [`Self::with_key`] keeps a key of [`Self::expected`], because a pattern for many hosts names it.
    pub(super) fn is_fixed(&self, host: &KnownHost, key: &[u8]) -> bool {
        let fixed = self.keys(|entry| entry.matches(&host.name) == Some(HostMatch::ByPattern));
        fixed.contains(&key)
    }

    /// The keys of a host under its name with port. If the host shows a different key, its key has changed.
    pub(super) fn expected(&self, host: &KnownHost) -> Vec<&[u8]> {
        self.keys(|entry| entry.matches(&host.name).is_some())
    }

    fn keys(&self, is_wanted: impl Fn(&KnownHostsEntry<'_>) -> bool) -> Vec<&[u8]> {
        let known = self.entries().filter(|entry| !entry.revoked && is_wanted(entry));
        known.map(|entry| &*entry.key).collect()
    }

    /// The file with a new key for a host, after all other lines. It replaces the host's own keys of the same type. A line
    /// that names further hosts stays for those; a pattern stays unchanged. `file`: the bytes of the parsed text.
    pub(super) fn with_key(&self, file: &[u8], host: &KnownHost, key: &[u8]) -> Vec<u8> {
        let mut learned = Vec::new();
        let lines = file.split_inclusive(|byte| *byte == b'\n').zip(&self.lines);
        for (bytes, (text, entry)) in lines {
            let replaced = entry.as_ref().filter(|entry| {
                !entry.revoked
                    && key_type(&entry.key) == key_type(key)
                    && entry.matches(&host.name) == Some(HostMatch::ByName)
            });
            match replaced {
                None => learned.extend(bytes),
                Some(entry) => {
                    let others = entry.hosts.split(',').filter(|other| !is_name(other, &host.name));
                    let others: Vec<_> = others.collect();
                    if !entry.is_hashed() && others.iter().any(|other| !other.starts_with('!')) {
                        let left = text.replacen(entry.hosts, &others.join(","), 1);
                        learned.extend(left.as_bytes());
                    }
                }
            }
        }
        if learned.last().is_some_and(|byte| *byte != b'\n') {
            learned.push(b'\n');
        }
        let own = format!("{} {} {}\n", host.name, key_type(key), STANDARD.encode(key));
        learned.extend(own.as_bytes());
        learned
    }

    fn entries(&self) -> impl Iterator<Item = &KnownHostsEntry<'a>> {
        self.lines.iter().filter_map(|(_, entry)| entry.as_ref())
    }
}

impl<'a> KnownHostsEntry<'a> {
    /// Parses a line with a known or a revoked key. Certificates (`@cert-authority`) are not supported.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (revoked, fields) = match line.split_once(char::is_whitespace)? {
            ("@revoked", fields) => (true, fields),
            (first, _) if first.starts_with(['@', '#']) => return None,
            _ => (false, line),
        };
        let mut fields = fields.split_whitespace();
        let (hosts, named_type, key) = (fields.next()?, fields.next()?, fields.next()?);
        let key = STANDARD.decode(key).ok()?;
        (key_type(&key) == named_type).then_some(Self { revoked, hosts, key })
    }

    fn is_hashed(&self) -> bool {
        self.hosts.starts_with('|')
    }

    /// How the line names a host of this name, if it does.
    fn matches(&self, name: &str) -> Option<HostMatch> {
        if self.is_hashed() {
            return self.has_hash_of(name).then_some(HostMatch::ByName);
        }
        let mut found = None;
        for pattern in self.hosts.split(',') {
            match pattern.strip_prefix('!') {
                // A negated pattern that matches excludes the whole line.
                Some(pattern) if matches_pattern(pattern, name) => return None,
                None if is_name(pattern, name) => found = Some(HostMatch::ByName),
                None if matches_pattern(pattern, name) => found = found.or(Some(HostMatch::ByPattern)),
                _ => {}
            }
        }
        found
    }

    /// Whether the hashed name is this one: `|1|` and, in Base64, a salt and the HMAC-SHA1 of the name.
    fn has_hash_of(&self, name: &str) -> bool {
        let parts = self
            .hosts
            .strip_prefix("|1|")
            .and_then(|rest| rest.split_once('|'));
        let decoded = parts.map(|(salt, hash)| (STANDARD.decode(salt), STANDARD.decode(hash)));
        let Some((Ok(salt), Ok(hash))) = decoded else {
            return false;
        };
        let hashed = Hmac::<Sha1>::new_from_slice(&salt).map(|hmac| hmac.chain_update(name).finalize());
        hashed.is_ok_and(|hashed| hashed.into_bytes().as_slice() == hash)
    }
}

/// Whether a pattern is just this name.
fn is_name(pattern: &str, name: &str) -> bool {
    pattern.eq_ignore_ascii_case(name)
}

/// Whether a name matches a pattern, in which `*` stands for any characters and `?` for one. The time is at most
/// proportional to the product of both lengths.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.as_bytes());
    let pattern = pattern.as_bytes();
    let (mut at, mut in_name) = (0, 0);
    // The last star, and the end of the part of the name that it stands for.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(in_name) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((star_at, stands_for)) = &mut star else {
                    return false;
                };
                *stands_for += 1;
                (at, in_name) = (*star_at + 1, *stands_for);
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

/// The type that a key in wire form starts with (RFC 4253, section 6.6).
pub(super) fn key_type(key: &[u8]) -> &str {
    let text = key.split_first_chunk().and_then(|(len, rest)| {
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        std::str::from_utf8(rest.get(..len)?).ok()
    });
    text.filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()))
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(kind: &str, number: u8) -> Vec<u8> {
        let mut key = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        key.extend(kind.as_bytes());
        key.extend([0, 0, 0, 1, number]);
        key
    }

    fn ed25519(number: u8) -> Vec<u8> {
        key("ssh-ed25519", number)
    }

    fn line(hosts: &str, key: &[u8]) -> String {
        format!("{hosts} {} {} a comment\n", key_type(key), STANDARD.encode(key))
    }

    fn trusted(text: &str, host: &str, port: u16) -> usize {
        KnownHosts::parse(text).trusted(&KnownHost::new(host, port)).len()
    }

    #[test]
    fn the_first_line_without_a_key_that_can_be_read_is_named() {
        let key = line("a,b", &ed25519(1));
        for (text, unreadable) in [
            (format!("# a comment\n\n  \n{key}"), None),
            (format!("{key}rubbish\n"), Some(2)),
            ("#\na ssh-ed25519 AAAA\n".to_owned(), Some(2)),
            (format!("@cert-authority {key}"), Some(1)),
        ] {
            assert_eq!(KnownHosts::parse(&text).first_unreadable(), unreadable, "{text}");
        }
    }

    #[test]
    fn host_is_found_by_name_port_pattern_and_hash() {
        // Of `[drop.example.com]:2222`, with a salt of ones.
        let hashed = "|1|AQEBAQEBAQEBAQEBAQEBAQEBAQE=|Crr7roL0sZ6rQMXgBUJbV8MUk7c=";
        let key = ed25519(1);
        for (hosts, host, port, known) in [
            ("drop.example.com", "drop.example.com", 22, true),
            ("drop.example.com", "DROP.example.com", 22, true),
            ("Drop.Example.com", "drop.example.com", 22, true),
            ("drop.example.com", "drop.example.com.evil.net", 22, false),
            ("a,drop.example.com,b", "drop.example.com", 22, true),
            ("[drop.example.com]:2222", "drop.example.com", 2222, true),
            ("[drop.example.com]:2222", "drop.example.com", 22, false),
            ("[drop.example.com]:2222", "drop.example.com", 2223, false),
            ("drop.example.com", "drop.example.com", 2222, true),
            ("*.example.com", "drop.example.com", 22, true),
            ("*.example.com", "example.com", 22, false),
            ("d?op.example.com", "drop.example.com", 22, true),
            ("*.example.com,!drop.example.com", "drop.example.com", 22, false),
            ("*.example.com,!drop.example.com", "crop.example.com", 22, true),
            ("!drop.example.com,*", "drop.example.com", 22, false),
            ("[*.example.com]:22*", "drop.example.com", 2222, true),
            ("192.0.2.*", "192.0.2.7", 22, true),
            (hashed, "drop.example.com", 2222, true),
            (hashed, "drop.example.com", 22, false),
            (hashed, "crop.example.com", 2222, false),
        ] {
            let found = trusted(&line(hosts, &key), host, port) == 1;
            assert_eq!(found, known, "{host} port {port} in {hosts}");
        }
    }

    #[test]
    fn several_keys_of_a_host_are_all_trusted_and_revoked_ones_nowhere() {
        let text = line("drop", &ed25519(1))
            + &line("drop", &key("ssh-rsa", 2))
            + &line("drop", &ed25519(3))
            + &format!("@revoked {}", line("*", &ed25519(9)))
            + &format!("@cert-authority {}", line("drop", &ed25519(4)));
        let known = KnownHosts::parse(&text);
        assert_eq!(known.trusted(&KnownHost::new("drop", 22)).len(), 3);
        assert!(known.is_revoked(&ed25519(9)) && !known.is_revoked(&ed25519(1)));
    }

    #[test]
    fn key_of_the_default_port_is_trusted_and_not_expected_at_another() {
        let text = line("drop", &ed25519(1));
        let (known, host) = (KnownHosts::parse(&text), KnownHost::new("drop", 2222));
        assert_eq!(known.trusted(&host), [&ed25519(1)[..]]);
        assert!(known.expected(&host).is_empty());
    }

    #[test]
    fn line_whose_key_is_not_of_the_type_it_names_is_passed_over() {
        let odd = format!("drop ssh-rsa {}\n", STANDARD.encode(ed25519(1)));
        assert_eq!(trusted(&odd, "drop", 22), 0);
    }

    #[test]
    fn changed_key_takes_the_place_of_the_hosts_own_keys_of_its_type_only() {
        let host = KnownHost::new("drop", 2222);
        let kept = [
            "# a comment\n\n".to_owned(),
            line("[drop]:2222", &key("ssh-rsa", 2)),
            line("drop", &ed25519(3)),
            line("[*]:2222", &ed25519(4)),
            format!("@revoked {}", line("[drop]:2222", &ed25519(5))),
            "junk \u{fffd}\n".to_owned(),
        ];
        let text =
            kept.concat() + &line("[drop]:2222", &ed25519(1)) + &line("[crop]:2222,[drop]:2222", &ed25519(1));
        let learn = |text: &str| {
            let learned = KnownHosts::parse(text).with_key(text.as_bytes(), &host, &ed25519(7));
            String::from_utf8(learned).unwrap()
        };
        let learned = learn(&text);
        let own = line("[drop]:2222", &ed25519(7)).replace(" a comment", "");
        assert_eq!(learned, kept.concat() + &line("[crop]:2222", &ed25519(1)) + &own);
        assert!(
            KnownHosts::parse(&learned)
                .expected(&host)
                .contains(&&ed25519(7)[..])
        );
        assert_eq!(learn(""), own);
        assert_eq!(learn("# cut off"), format!("# cut off\n{own}"));
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let file = b"\xff\xfe junk \r\n\x80\n";
        let text = String::from_utf8_lossy(file);
        let learned = KnownHosts::parse(&text).with_key(file, &KnownHost::new("drop", 22), &ed25519(7));
        assert!(learned.starts_with(file));
    }

    fn any_line() -> impl Strategy<Value = String> {
        let hosts = prop_oneof![
            "[a-c*?!,]{0,6}",
            Just("drop".to_owned()),
            Just("|1|AQ==|AQ==".to_owned())
        ];
        prop_oneof![
            ("(@revoked )?", hosts, 0u8..3)
                .prop_map(|(mark, hosts, number)| mark + &line(&hosts, &ed25519(number))),
            "\\PC{0,20}\n",
        ]
    }

    proptest! {
        #[test]
        fn learning_a_key_makes_it_trusted_and_takes_no_other_hosts_away(
            lines in prop::collection::vec(any_line(), 0..12),
        ) {
            let (text, drop) = (lines.concat(), KnownHost::new("drop", 22));
            let learned = KnownHosts::parse(&text).with_key(text.as_bytes(), &drop, &ed25519(200));
            let learned = String::from_utf8(learned).unwrap();
            let (before, after) = (KnownHosts::parse(&text), KnownHosts::parse(&learned));
            prop_assert!(after.expected(&drop).contains(&&ed25519(200)[..]));
            prop_assert_eq!(
                &after.with_key(learned.as_bytes(), &drop, &ed25519(200)),
                learned.as_bytes(),
                "adding it twice changes nothing more"
            );
            for other in ["a", "b", "abc", "dropped"] {
                let other = KnownHost::new(other, 22);
                prop_assert_eq!(before.trusted(&other), after.trusted(&other));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in any::<String>(), host in "\\PC{0,10}", port in any::<u16>()) {
            let known = KnownHosts::parse(&text);
            known.trusted(&KnownHost::new(&host, port));
        }

        #[test]
        fn pattern_with_stars_fits_what_a_plain_search_finds(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches_pattern(&pattern, &name), slow_matches_pattern(pattern.as_bytes(), name.as_bytes()));
        }
    }

    fn slow_matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => slow_matches_pattern(rest, name),
            (Some((b'*', rest)), Some((_, more))) => {
                slow_matches_pattern(rest, name) || slow_matches_pattern(pattern, more)
            }
            (Some((wanted, rest)), Some((byte, more))) if *wanted == b'?' || wanted == byte => {
                slow_matches_pattern(rest, more)
            }
            _ => false,
        }
    }
}
