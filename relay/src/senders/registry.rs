//! What a sender's id counts for. Pure.
//!
//! The rules:
//! 1. A source that only the address gives stays what it was when this id first came to this group, if that source is
//!    admitted there too. A name, a token or a certificate always counts more than the id.
//! 2. That ends when a sender at the remembered address itself is live: the address is then its source, not that of one
//!    who came away from it.
//! 3. An id has one process. A new process waits while the one before is connected and not silent. If that one reports
//!    meanwhile, there are two (a copied state folder), and the new one must make a new id. If it is gone, it was restarted.
//! 4. A process that comes back after its successor was accepted must make a new id too.
//!
//! Invariant: the source of a contact is the one that it has without its id, or one that the group admits and that this
//! id got by its address in this group.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{SENDERS_KEPT, SenderRecord, is_sender_live, live_together};
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::sender::{SenderId, SenderName, SenderRun};

/// A connected process that made no contact for so long is gone: senders report every 10 s.
const SILENT: SignedDuration = SignedDuration::from_secs(25);
/// Earlier, waiting and refused processes remembered of an id, of each kind.
const RUNS_MAX: usize = 8;

/// A request of a sender that names itself. It is authorized already.
#[derive(Debug)]
pub(crate) struct Contact<'a> {
    pub(crate) name: SenderName,
    pub(crate) group: &'a GroupName,
    pub(crate) address: IpAddr,
    /// Its source without the id.
    pub(crate) source: &'a SourceId,
    /// Whether only the address gives that source.
    pub(crate) by_address: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContactOutcome {
    Source(SourceId),
    /// Another process with this id is connected. Soon it is known whether it lives.
    Wait,
    /// Another process has this id.
    IdTaken,
}

#[derive(Debug)]
struct KnownSender {
    address: IpAddr,
    /// The present process first.
    runs: Vec<SenderRun>,
    waiting: Vec<SenderRun>,
    refused: Vec<SenderRun>,
    first_seen: Timestamp,
    run_since: Timestamp,
    last_contact: Timestamp,
    groups: Vec<SourceInGroup>,
}

#[derive(Debug)]
struct SourceInGroup {
    group: GroupName,
    source: SourceId,
    by_address: bool,
    is_saved: bool,
}

#[derive(Debug, Default)]
pub(crate) struct SenderRegistry {
    senders: HashMap<SenderId, KnownSender>,
    connections: HashMap<SenderRun, usize>,
    /// Sources whose two live senders were announced.
    together: HashSet<SourceId>,
}

impl SenderRegistry {
    pub(crate) fn load(records: Vec<SenderRecord>) -> Self {
        let mut registry = Self::default();
        for record in records {
            let known = registry.senders.entry(record.id).or_insert_with(|| KnownSender {
                address: record.address,
                runs: record.runs.clone(),
                waiting: Vec::new(),
                refused: Vec::new(),
                first_seen: record.first_seen,
                run_since: record.run_since,
                last_contact: record.last_contact,
                groups: Vec::new(),
            });
            // The groups are noted one by one; the latest note has the present process.
            if record.last_contact > known.last_contact {
                (known.address, known.runs) = (record.address, record.runs);
                (known.run_since, known.last_contact) = (record.run_since, record.last_contact);
            }
            known.groups.push(SourceInGroup {
                group: record.group,
                source: record.source,
                by_address: record.by_address,
                is_saved: true,
            });
        }
        registry
    }

    pub(crate) fn connected(&mut self, run: SenderRun) {
        *self.connections.entry(run).or_default() += 1;
    }

    pub(crate) fn disconnected(&mut self, run: SenderRun) {
        if let Some(count) = self.connections.get_mut(&run) {
            *count -= 1;
            if *count == 0 {
                self.connections.remove(&run);
            }
        }
    }

    /// Decides about a request. `may_send` says whether the group admits a source.
    pub(crate) fn contact(
        &mut self,
        contact: &Contact<'_>,
        may_send: impl Fn(&SourceId) -> bool,
        now: Timestamp,
    ) -> ContactOutcome {
        let Some(run) = contact.name.run else {
            return ContactOutcome::Source(self.source_beside(contact, may_send, now));
        };
        let id = contact.name.id;
        if !self.senders.contains_key(&id) {
            self.make_room(contact.source);
        }
        let known = self
            .senders
            .entry(id)
            .or_insert_with(|| KnownSender::new(contact.address, run, now));
        let present = known.runs.first();
        let is_connected = present.is_some_and(|present| self.connections.contains_key(present));
        if let Some(refusal) = known.admit(run, is_connected, now) {
            return refusal;
        }
        known.moved_to(contact.address);
        known.last_contact = now;
        let keeps = self.keeps_source(contact, may_send, now);
        let Some(known) = self.senders.get_mut(&id) else {
            return ContactOutcome::Source(contact.source.clone());
        };
        ContactOutcome::Source(known.source(contact, keeps))
    }

    /// Whether a contact has the source that its id had before.
    fn keeps_source(
        &self,
        contact: &Contact<'_>,
        may_send: impl Fn(&SourceId) -> bool,
        now: Timestamp,
    ) -> bool {
        let known = self.senders.get(&contact.name.id);
        let remembered = known.and_then(|known| known.in_group(contact.group));
        remembered.is_some_and(|remembered| {
            contact.by_address
                && remembered.by_address
                && may_send(&remembered.source)
                && (remembered.source == *contact.source
                    || !self.is_at_home(contact, &remembered.source, now))
        })
    }

    /// Whether another sender is live at the address `source`.
    fn is_at_home(&self, contact: &Contact<'_>, source: &SourceId, now: Timestamp) -> bool {
        self.senders.iter().any(|(id, other)| {
            *id != contact.name.id
                && SourceId::from(other.address) == *source
                && is_sender_live(other.last_contact, now)
                && other
                    .in_group(contact.group)
                    .is_some_and(|there| there.source == *source)
        })
    }

    /// The source of a command that runs beside a sender: that sender's, if it comes from where the sender comes from.
    fn source_beside(
        &self,
        contact: &Contact<'_>,
        may_send: impl Fn(&SourceId) -> bool,
        now: Timestamp,
    ) -> SourceId {
        let known = self.senders.get(&contact.name.id);
        let is_there = known.is_some_and(|known| known.address == contact.address);
        let remembered = known.and_then(|known| known.in_group(contact.group));
        match remembered {
            Some(there) if is_there && self.keeps_source(contact, may_send, now) => there.source.clone(),
            _ => contact.source.clone(),
        }
    }

    /// Forgets the sender of a source that was silent for the longest time, if there are too many.
    fn make_room(&mut self, source: &SourceId) {
        let is_its = |known: &KnownSender| known.groups.iter().any(|there| there.source == *source);
        let of_source = self.senders.iter().filter(|(_, known)| is_its(known));
        let (count, oldest) = of_source.fold(
            (0, None),
            |(count, oldest): (u32, Option<(Timestamp, SenderId)>), (id, known)| {
                let this = (known.last_contact, *id);
                (count + 1, Some(oldest.map_or(this, |oldest| oldest.min(this))))
            },
        );
        if count >= SENDERS_KEPT
            && let Some((_, id)) = oldest
        {
            self.senders.remove(&id);
        }
    }

    /// The senders that are live together for a source, once while that lasts.
    pub(crate) fn newly_together(&mut self, source: &SourceId, now: Timestamp) -> Option<Vec<SenderRecord>> {
        let is_its = |known: &&KnownSender| known.groups.iter().any(|there| there.source == *source);
        if self.senders.values().filter(is_its).take(2).count() < 2 {
            self.together.remove(source);
            return None;
        }
        let records: Vec<_> = self
            .senders
            .iter()
            .flat_map(|(id, known)| known.records(*id))
            .collect();
        let together = live_together(&records, source, now);
        if together.is_empty() {
            self.together.remove(source);
            return None;
        }
        let is_new = self.together.insert(source.clone());
        is_new.then(|| together.into_iter().cloned().collect())
    }

    pub(crate) fn unsaved(&self, id: SenderId, group: &GroupName, whole: bool) -> Option<SenderRecord> {
        let known = self.senders.get(&id)?;
        let there = known.in_group(group)?;
        (whole || !there.is_saved).then(|| known.record(id, there))
    }

    /// The ledger has this record now. What has changed since is still to be saved.
    pub(crate) fn saved(&mut self, record: &SenderRecord) {
        let Some(known) = self.senders.get_mut(&record.id) else {
            return;
        };
        let is_same = known.runs == record.runs && known.address == record.address;
        for there in &mut known.groups {
            let is_it = there.group == record.group && there.source == record.source;
            there.is_saved |= is_same && is_it && there.by_address == record.by_address;
        }
    }
}

impl KnownSender {
    fn new(address: IpAddr, run: SenderRun, now: Timestamp) -> Self {
        Self {
            address,
            runs: vec![run],
            waiting: Vec::new(),
            refused: Vec::new(),
            first_seen: now,
            run_since: now,
            last_contact: now,
            groups: Vec::new(),
        }
    }

    /// Admits a process, or says why not. Rules 3 and 4.
    fn admit(&mut self, run: SenderRun, is_connected: bool, now: Timestamp) -> Option<ContactOutcome> {
        if self.runs.first() == Some(&run) {
            let others = std::mem::take(&mut self.waiting);
            self.refused.splice(0..0, others);
            self.refused.truncate(RUNS_MAX);
            return None;
        }
        if self.refused.contains(&run) || self.runs.contains(&run) {
            return Some(ContactOutcome::IdTaken);
        }
        if is_connected && now.duration_since(self.last_contact) < SILENT {
            if !self.waiting.contains(&run) {
                self.waiting.insert(0, run);
                self.waiting.truncate(RUNS_MAX);
            }
            return Some(ContactOutcome::Wait);
        }
        self.waiting.clear();
        self.runs.insert(0, run);
        self.runs.truncate(RUNS_MAX);
        self.run_since = now;
        self.changed();
        None
    }

    fn moved_to(&mut self, address: IpAddr) {
        if self.address != address {
            self.address = address;
            self.changed();
        }
    }

    fn changed(&mut self) {
        self.groups.iter_mut().for_each(|there| there.is_saved = false);
    }

    fn in_group(&self, group: &GroupName) -> Option<&SourceInGroup> {
        self.groups.iter().find(|there| there.group == *group)
    }

    /// The source of a contact, which is remembered for the next one.
    fn source(&mut self, contact: &Contact<'_>, keeps: bool) -> SourceId {
        let Contact {
            group,
            source,
            by_address,
            ..
        } = *contact;
        let new = |source: &SourceId| SourceInGroup {
            group: group.clone(),
            source: source.clone(),
            by_address,
            is_saved: false,
        };
        match self.groups.iter_mut().find(|there| there.group == *group) {
            Some(there) if keeps => there.source.clone(),
            Some(there) => {
                if there.source != *source || there.by_address != by_address {
                    *there = new(source);
                }
                source.clone()
            }
            None => {
                self.groups.push(new(source));
                source.clone()
            }
        }
    }

    fn record(&self, id: SenderId, there: &SourceInGroup) -> SenderRecord {
        SenderRecord {
            id,
            group: there.group.clone(),
            source: there.source.clone(),
            by_address: there.by_address,
            address: self.address,
            runs: self.runs.clone(),
            first_seen: self.first_seen,
            run_since: self.run_since,
            last_contact: self.last_contact,
        }
    }

    fn records(&self, id: SenderId) -> impl Iterator<Item = SenderRecord> + '_ {
        self.groups.iter().map(move |there| self.record(id, there))
    }
}

#[cfg(test)]
mod tests;
