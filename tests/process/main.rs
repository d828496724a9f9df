//! The real binary, or one of its servers, on loopback: real sockets, files and clocks. Some tests need root, and some
//! need third-party programs, which `tests/run` installs on Debian.

mod api;
mod ask_server;
mod builds;
mod changes;
mod check;
mod cli;
mod commands;
mod demo;
mod drain;
mod faults;
mod hostile;
mod http;
mod images;
mod import;
mod ipxe;
mod journal;
mod leases;
mod limits;
mod package;
mod privileges;
mod probe;
mod rehearse;
mod reload;
mod rendering;
mod scripts;
mod serve;
mod store;
mod tftp;
