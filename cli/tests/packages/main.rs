//! The packages that `./package` makes, installed, upgraded and removed in a bare Debian.
//!
//! These tests need root, for chroot(2) and containers, and the commands debootstrap, dpkg-deb, rpmbuild and systemd-nspawn. `./test`
//! installs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod bare_root;
mod booted;
mod build;
mod contents;
mod deb;
mod rpm;
mod systemd;
