use crate::source::journal::export::JournalEntry;
use crate::source::journal::filter::EntryFilter;

fn entry(fields: &[(&str, &str)]) -> JournalEntry {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    JournalEntry {
        fields: fields.collect(),
        lost: 0,
    }
}

fn filter(units: &[&str], matches: &[(&str, &str)]) -> EntryFilter {
    let units: Vec<_> = units.iter().map(|unit| (*unit).to_owned()).collect();
    let matches = matches
        .iter()
        .map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
    EntryFilter::new(&units, &matches.collect::<Vec<_>>())
}

#[test]
fn without_units_and_matches_every_entry_is_taken() {
    assert!(filter(&[], &[]).takes(&entry(&[("MESSAGE", "x")])));
}

#[test]
fn unit_takes_its_own_messages_and_those_about_it() {
    let nginx = filter(&["nginx"], &[]);
    for (expected, fields) in [
        (true, &[("_SYSTEMD_UNIT", "nginx.service")][..]),
        (true, &[("_PID", "1"), ("UNIT", "nginx.service")]),
        (true, &[("_UID", "0"), ("OBJECT_SYSTEMD_UNIT", "nginx.service")]),
        (
            true,
            &[
                ("_UID", "0"),
                ("MESSAGE_ID", "fc2e22bc6ee647b6b90729ab34a250b1"),
                ("COREDUMP_UNIT", "nginx.service"),
            ],
        ),
        // Anybody can write these fields.
        (false, &[("_PID", "7"), ("UNIT", "nginx.service")]),
        (
            false,
            &[("_UID", "1000"), ("OBJECT_SYSTEMD_UNIT", "nginx.service")],
        ),
        (false, &[("_SYSTEMD_UNIT", "nginx.socket")]),
        (false, &[("MESSAGE", "nginx.service")]),
    ] {
        assert_eq!(nginx.takes(&entry(fields)), expected, "{fields:?}");
    }
}

#[test]
fn units_may_be_globs_of_any_type() {
    let units = filter(&["shop-*", "web.slice", "tty@[12].service", "odd[.service"], &[]);
    for (expected, field, name) in [
        (true, "_SYSTEMD_UNIT", "shop-api.service"),
        (true, "_SYSTEMD_SLICE", "web.slice"),
        (true, "_SYSTEMD_UNIT", "tty@2.service"),
        (true, "_SYSTEMD_UNIT", "odd[.service"),
        (false, "_SYSTEMD_UNIT", "tty@3.service"),
    ] {
        assert_eq!(units.takes(&entry(&[(field, name)])), expected, "{name}");
    }
}

#[test]
fn of_one_field_any_value_counts_and_all_fields_must_match() {
    let matches = filter(
        &[],
        &[("PRIORITY", "3"), ("PRIORITY", "4"), ("_TRANSPORT", "kernel")],
    );
    for (expected, fields) in [
        (true, &[("PRIORITY", "4"), ("_TRANSPORT", "kernel")][..]),
        (
            true,
            &[("PRIORITY", "6"), ("PRIORITY", "3"), ("_TRANSPORT", "kernel")],
        ),
        (false, &[("PRIORITY", "4"), ("_TRANSPORT", "syslog")]),
        (false, &[("PRIORITY", "4")]),
    ] {
        assert_eq!(matches.takes(&entry(fields)), expected, "{fields:?}");
    }
}
