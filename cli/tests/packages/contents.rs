//! What is in the packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::build;

fn lines(program: &str, arguments: &[&str], package: &Path) -> Vec<String> {
    let output = Command::new(program)
        .args(arguments)
        .arg(package)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The installed files of a package, without folders.
fn files(program: &str, arguments: &[&str], package: &Path) -> BTreeSet<String> {
    let listed = lines(program, arguments, package);
    let names = listed.iter().filter(|line| line.starts_with('-'));
    names
        .map(|line| {
            line.rsplit(' ')
                .next()
                .unwrap()
                .trim_start_matches('.')
                .to_owned()
        })
        .collect()
}

fn deb_files() -> BTreeSet<String> {
    files("dpkg-deb", &["--contents"], &build::deb(build::OLD))
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn both_packages_have_everything_that_a_host_needs() {
    let deb = deb_files();
    for file in [
        "/usr/bin/logferry",
        "/usr/lib/sysusers.d/logferry.conf",
        "/usr/lib/tmpfiles.d/logferry.conf",
        "/etc/cron.d/logferry",
        "/etc/logferry/relay.example.yaml",
        "/etc/logferry/sender.example.yaml",
        "/usr/share/man/man1/logferry.1.gz",
        "/usr/share/man/man1/logferry-audit.1.gz",
        "/usr/share/bash-completion/completions/logferry",
        "/usr/share/zsh/vendor-completions/_logferry",
        "/usr/share/fish/vendor_completions.d/logferry.fish",
        "/usr/share/logferry/prometheus/logferry.rules.yml",
        "/usr/share/logferry/grafana/logferry.json",
        "/usr/share/doc/logferry/logferry.cdx.json",
        "/usr/share/doc/logferry/docs/operate.md",
        "/usr/share/doc/logferry/copyright",
    ] {
        assert!(deb.contains(file), "{file} is missing");
    }
    for unit in fs::read_dir(repository("deploy/systemd")).unwrap() {
        let name = unit.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".service") {
            assert!(deb.contains(&format!("/usr/lib/systemd/system/{name}")), "{name}");
        }
    }
    let rpm = files("rpm", &["-qlvp"], &build::rpm(build::OLD));
    let elsewhere = |file: &String| file.replace("zsh/vendor-completions", "zsh/site-functions");
    assert_eq!(rpm, deb.iter().map(elsewhere).collect());
}

#[test]
fn every_unit_is_known_to_the_scripts() {
    let script = fs::read_to_string(repository("deploy/package/lifecycle.sh")).unwrap();
    let (_, units) = script.split_once("\nUNITS=\"").unwrap();
    let units: BTreeSet<_> = units.split_once('"').unwrap().0.split_whitespace().collect();
    for unit in fs::read_dir(repository("deploy/systemd")).unwrap() {
        let name = unit.unwrap().file_name().into_string().unwrap();
        if let Some(unit) = name.strip_suffix(".service") {
            assert!(
                units.contains(unit),
                "{unit} is not in UNITS of deploy/package/lifecycle.sh"
            );
        }
    }
}

#[test]
fn same_program_and_time_give_the_same_bytes() {
    let again = tempfile::tempdir().unwrap();
    build::make(again.path(), build::OLD);
    for package in [build::deb(build::OLD), build::rpm(build::OLD)] {
        let name = package.file_name().unwrap();
        let (one, other) = (
            fs::read(&package).unwrap(),
            fs::read(again.path().join(name)).unwrap(),
        );
        assert!(one == other, "{} differs", package.display());
    }
}

#[test]
fn configuration_is_marked_as_such() {
    let conffiles = lines("dpkg-deb", &["--info"], &build::deb(build::OLD));
    assert!(
        conffiles.iter().any(|line| line.contains("conffiles")),
        "{conffiles:?}"
    );
    let etc: BTreeSet<_> = deb_files()
        .into_iter()
        .filter(|file| file.starts_with("/etc/"))
        .collect();
    let marked = lines("rpm", &["-qcp"], &build::rpm(build::OLD));
    assert_eq!(marked.into_iter().collect::<BTreeSet<_>>(), etc);
}

#[test]
fn dependencies_are_the_libraries_that_the_program_needs() {
    let depends = lines("dpkg-deb", &["--field"], &build::deb(build::OLD));
    let depends = depends
        .iter()
        .find_map(|line| line.strip_prefix("Depends: "))
        .unwrap();
    assert!(depends.starts_with("libc6 (>= 2."), "{depends}");
    let needed = lines("objdump", &["-p"], Path::new(env!("CARGO_BIN_EXE_logferry")));
    let needed = needed
        .iter()
        .filter_map(|line| line.trim().strip_prefix("NEEDED"));
    for library in needed.map(str::trim) {
        // libm and the loader are in libc6.
        let known = ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libgcc_s.so.1"];
        assert!(
            known.contains(&library),
            "{library}: add its package to deploy/package/deb/control"
        );
    }
    let required = lines("rpm", &["-qRp"], &build::rpm(build::OLD));
    assert!(
        required.iter().any(|line| line.starts_with("libgcc_s.so.1")),
        "{required:?}"
    );
}

#[test]
fn bill_of_materials_names_each_crate_of_the_binary_once() {
    let output = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(build::deb(build::OLD))
        .output()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("files.tar");
    fs::write(&archive, output.stdout).unwrap();
    let member = "./usr/share/doc/logferry/logferry.cdx.json";
    let bill = Command::new("tar")
        .arg("-xOf")
        .arg(&archive)
        .arg(member)
        .output()
        .unwrap();
    let bill: Value = serde_json::from_slice(&bill.stdout).unwrap();
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    let components = bill["components"].as_array().unwrap();
    let names: BTreeSet<_> = components
        .iter()
        .map(|component| component["purl"].to_string())
        .collect();
    assert_eq!(names.len(), components.len(), "no component stands there twice");
    let rustls = components
        .iter()
        .find(|component| component["name"] == "rustls")
        .unwrap();
    assert_eq!(
        (&rustls["scope"], &rustls["hashes"][0]["alg"]),
        (&"required".into(), &"SHA-256".into())
    );
    assert!(
        names.iter().all(|name| !name.contains("cargo/proptest@")),
        "a library of tests"
    );
}
