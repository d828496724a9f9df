//! Complete networks: the real binary in network namespaces, with real clients, relay agents and other servers, and
//! with real firmware in QEMU.
//!
//! Nearly all tests need root, and third-party programs that `tests/run` installs on Debian. A test that cannot run is
//! skipped by name. With CI=true it fails.

mod attackers;
mod beside;
mod capture;
mod clients;
mod doctor;
mod firmware;
mod identity;
mod imported_dnsmasq;
mod imported_servers;
mod interfaces;
mod one_frame;
mod probe;
mod systemd;
mod verdicts;
mod wake;
mod web;
