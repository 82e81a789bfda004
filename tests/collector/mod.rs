//! The collector with everything behind it: what clients were told is stored is at the SFTP drop, once.

mod crashes;
mod full_disk;
mod many_sources;
mod mysql;
mod posting;
mod stalled_clients;
