//! lanboot boots diskless machines over the LAN.
//!
//! Every packet is handled in a straight line: **parse → classify → decide → commit → send → record**. Modules in
//! reading order, and what each may import (`tests/rules/layering.rs` holds this table to the code):
//!
//! | module | content | may import |
//! |---|---|---|
//! | [`types`] | small values used everywhere | nothing |
//! | [`event`] | everything that can happen to a machine | types |
//! | [`wire`] | bytes ↔ values | types |
//! | [`lease`] | the lease book: which client holds which address until when | types |
//! | [`boot`] | machine identity → what it boots | types, wire |
//! | [`dhcp`] | decisions of the DHCP server | types, event, wire, lease, boot |
//! | [`tftp`] | what TFTP grants, and what a transfer sends when | types, event, wire |
//! | [`http`] | what HTTP answers | types |
//! | [`journey`] | what happened to each machine, and why its boot stopped | types, event |
//! | [`capture`] | which packets of a boot are kept, and their pcap file | types, event, wire |
//! | [`probe`] | a network-boot client, and models of firmware | types, wire |
//! | [`config`] | config.yaml as written, then as meant | types, wire, boot, dhcp, lease, tftp |
//! | [`import`] | other servers' configurations → config.yaml | types, wire, config |
//! | [`store`] | durable leases and boots | types, event, lease, journey, dhcp, config |
//! | [`images`] | the files of boot-images/ | types, event, wire, boot |
//! | [`net`] | Linux plumbing without policy: interfaces and sockets | types, wire, boot, dhcp, capture, config |
//! | [`record`] | events → log lines, counters and subscribers | types, event, store |
//! | [`content`] | what a client gets for a file name | types, event, wire, lease, boot, dhcp, http, config, store, images, net, record |
//! | [`api`] | the routes of the control socket and the web listener | types, event, journey, capture, lease, boot, dhcp, config, store, images, net, record, content |
//! | [`privileges`] | gives up the rights of root: user, capabilities, Landlock | boot, config, store, net, api |
//! | [`server`] | sockets, tasks, the life of the process | all of the above except probe |
//! | [`cli`] | one file per command | everything |
//!
//! Down to `import` everything is core: no I/O, no clock, no log, no randomness, no async. From `store` on it is shell.
//!
//! Where things happen:
//!
//! | what | file |
//! |---|---|
//! | a DISCOVER is decided on | `dhcp/engine/mod.rs` (`Engine::run`), then `dhcp/decide.rs` |
//! | a file name becomes the bytes that a client gets | `content/lookup/mod.rs` (`Files::find`) |
//! | an event becomes a log line | `record/mod.rs` (`Recorder::record`), then `record/log_line.rs` |
//! | a key of config.yaml is added | `config/syntax/keys.rs`, then the reader of its section in `config/sections/` |

pub mod api;
pub mod boot;
pub mod capture;
pub mod cli;
pub mod config;
pub mod content;
pub mod dhcp;
pub mod event;
pub mod http;
pub mod images;
pub mod import;
pub mod journey;
pub mod lease;
pub mod net;
pub mod privileges;
pub mod probe;
pub mod record;
pub mod server;
pub mod store;
pub mod tftp;
pub mod types;
pub mod wire;
