//! Who is who, contact by contact.

use proptest::prelude::*;

use super::*;

const SOURCES: [&str; 3] = ["::1", "127.0.0.1", "127.0.0.2"];

/// A relay with two groups, and its clock.
struct Site {
    registry: SenderRegistry,
    seconds: i64,
    groups: [GroupName; 2],
    admitted: Vec<&'static str>,
}

fn site() -> Site {
    Site {
        registry: SenderRegistry::default(),
        seconds: 1000,
        groups: ["web-1", "web-2"].map(|name| name.parse().expect("a name")),
        admitted: SOURCES.to_vec(),
    }
}

impl Site {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds).expect("in range")
    }

    /// A contact of sender `id` in its process `run`, or of a command (`run` 0), from an address that gives its source
    /// unless it is `named`. Returns the source, or the refusal.
    fn contact_as(
        &mut self,
        (id, run): (u128, u64),
        address: &str,
        group: usize,
        named: Option<&str>,
    ) -> String {
        let name = SenderName {
            id: SenderId::new(id),
            run: (run > 0).then(|| SenderRun::new(run)),
        };
        let address: IpAddr = address.parse().expect("an address");
        let source = named.map_or_else(|| address.into(), |name| name.parse().expect("a name"));
        let contact = Contact {
            name,
            group: &self.groups[group],
            address,
            source: &source,
            by_address: named.is_none(),
        };
        let (now, admitted) = (self.now(), &self.admitted);
        let outcome = self
            .registry
            .contact(&contact, |source| admitted.contains(&source.as_str()), now);
        match outcome {
            ContactOutcome::Source(source) => source.to_string(),
            ContactOutcome::Wait => "wait".to_owned(),
            ContactOutcome::IdTaken => "taken".to_owned(),
        }
    }

    fn contact(&mut self, sender: (u128, u64), address: &str) -> String {
        self.contact_as(sender, address, 0, None)
    }

    fn connect(&mut self, run: u64) {
        self.registry.connected(SenderRun::new(run));
    }

    fn together(&mut self, source: &str) -> usize {
        let (source, now) = (source.parse().expect("a name"), self.now());
        self.registry
            .newly_together(&source, now)
            .map_or(0, |senders| senders.len())
    }
}

#[test]
fn a_source_stays_what_it_was_when_its_sender_comes_from_another_address() {
    let mut site = site();
    assert_eq!(site.contact((1, 1), "::1"), "::1");
    assert_eq!(site.contact((1, 1), "127.0.0.1"), "::1");
    // Restarted there, and after a restart of the relay.
    let known = site.registry.senders.iter();
    let records = known.flat_map(|(id, known)| known.records(*id)).collect();
    site.registry = SenderRegistry::load(records);
    assert_eq!(site.contact((1, 2), "127.0.0.2"), "::1");
    assert_eq!(site.contact((2, 3), "127.0.0.1"), "127.0.0.1", "another sender");
}

#[test]
fn an_id_counts_only_in_its_group_and_for_a_source_that_is_admitted_now() {
    let mut site = site();
    site.contact((1, 1), "::1");
    assert_eq!(site.contact_as((1, 1), "127.0.0.1", 1, None), "127.0.0.1");
    site.admitted.retain(|source| *source != "::1");
    assert_eq!(site.contact((1, 1), "127.0.0.1"), "127.0.0.1");
}

#[test]
fn a_name_or_a_credential_counts_more_than_an_id() {
    let mut site = site();
    site.contact((1, 1), "::1");
    assert_eq!(
        site.contact_as((1, 1), "127.0.0.1", 0, Some("127.0.0.2")),
        "127.0.0.2"
    );
    // What a credential gave is not given to an address.
    assert_eq!(site.contact((1, 1), "127.0.0.1"), "127.0.0.1");
}

#[test]
fn the_second_process_of_an_id_waits_and_then_needs_an_id_of_its_own() {
    let mut site = site();
    site.connect(1);
    site.contact((1, 1), "::1");
    assert_eq!(site.contact((1, 2), "127.0.0.1"), "wait");
    assert_eq!(site.contact((1, 1), "::1"), "::1", "the first reports");
    assert_eq!(site.contact((1, 2), "127.0.0.1"), "taken");
    assert_eq!(
        site.contact((2, 2), "127.0.0.1"),
        "127.0.0.1",
        "a copy on another host has its own source"
    );
    assert_eq!(site.contact((1, 1), "::1"), "::1");
}

#[test]
fn a_restarted_process_is_served_at_once_and_a_cut_off_one_is_replaced_soon() {
    let mut site = site();
    site.connect(1);
    site.contact((1, 1), "::1");
    site.registry.disconnected(SenderRun::new(1));
    site.connect(2);
    assert_eq!(site.contact((1, 2), "127.0.0.1"), "::1");
    // Its host lost its power: the connection stays.
    site.seconds += 24;
    assert_eq!(site.contact((1, 3), "127.0.0.1"), "wait");
    site.seconds += 1;
    assert_eq!(site.contact((1, 3), "127.0.0.1"), "::1");
    assert_eq!(site.contact((1, 2), "::1"), "taken", "it was there after all");
}

#[test]
fn nobody_speaks_for_an_address_whose_own_sender_is_live() {
    let mut site = site();
    site.contact((1, 1), "::1");
    site.seconds += 1000;
    // A thief of the id, or a host whose address was given to another host.
    assert_eq!(site.contact((1, 2), "127.0.0.1"), "::1", "the first is silent");
    assert_eq!(site.contact((7, 3), "::1"), "::1");
    assert_eq!(site.contact((1, 2), "127.0.0.1"), "127.0.0.1");
}

#[test]
fn a_command_beside_a_sender_has_its_source_and_takes_nothing_over() {
    let mut site = site();
    assert_eq!(site.contact((1, 0), "127.0.0.1"), "127.0.0.1", "no sender yet");
    site.connect(1);
    site.contact((1, 1), "::1");
    site.contact((1, 1), "127.0.0.1");
    assert_eq!(site.contact((1, 0), "127.0.0.1"), "::1");
    assert_eq!(
        site.contact((1, 0), "127.0.0.2"),
        "127.0.0.2",
        "not from the sender's host"
    );
    assert_eq!(site.contact((1, 1), "127.0.0.1"), "::1");
}

#[test]
fn two_live_senders_of_a_source_are_announced_once_and_a_successor_never() {
    let mut site = site();
    site.contact((1, 1), "::1");
    site.seconds += 5;
    site.contact((2, 2), "::1");
    assert_eq!(
        site.together("::1"),
        0,
        "the first lost its folder, and is silent since"
    );
    site.seconds += 5;
    site.contact((1, 1), "::1");
    site.seconds += 5;
    site.contact((2, 2), "::1");
    assert_eq!(site.together("::1"), 2);
    assert_eq!(site.together("::1"), 0, "announced already");
    site.seconds += 200;
    site.contact((2, 2), "::1");
    assert_eq!(site.together("::1"), 0, "one is gone");
    site.contact((1, 1), "::1");
    site.seconds += 1;
    site.contact((2, 2), "::1");
    assert_eq!(site.together("::1"), 2);
}

#[test]
fn the_senders_of_a_source_have_a_bound() {
    let mut site = site();
    for id in 0..u128::from(SENDERS_KEPT) + 10 {
        site.seconds += 1;
        site.contact((id, 1), "::1");
    }
    assert_eq!(site.registry.senders.len(), SENDERS_KEPT as usize);
}

proptest! {
    /// Whatever comes: a source is the contact's own, or admitted and got by this id, in this group, by its address.
    #[test]
    fn an_id_gives_nothing_that_its_address_did_not_get(
        contacts in prop::collection::vec((0_u128..3, 0_u64..4, 0_usize..3, 0_usize..2, prop::option::of(0_usize..3), 0_i64..40), 0..60),
        connected in prop::collection::vec(1_u64..4, 0..3),
        admitted in 0_usize..3,
    ) {
        let mut site = site();
        for run in connected {
            site.connect(run);
        }
        let mut got: HashSet<(u128, usize, String)> = HashSet::new();
        for (nth, (id, run, address, group, named, seconds)) in contacts.into_iter().enumerate() {
            if nth == 30 {
                site.admitted.remove(admitted);
            }
            site.seconds += seconds;
            let own = SOURCES[named.unwrap_or(address)];
            let given = site.contact_as((id, run), SOURCES[address], group, named.map(|name| SOURCES[name]));
            if given == "wait" || given == "taken" {
                continue;
            }
            let is_remembered = named.is_none()
                && site.admitted.contains(&given.as_str())
                && got.contains(&(id, group, given.clone()));
            prop_assert!(given == own || is_remembered, "{given} for {own}");
            if named.is_none() {
                got.insert((id, group, own.to_owned()));
            }
        }
    }
}
