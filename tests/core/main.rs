//! The core in memory and in virtual time: bytes and a time in, replies and events out. No test here uses a socket or a
//! process.

mod boot;
mod config;
mod config_clients;
mod dhcp;
mod http;
mod import;
mod import_servers;
mod import_texts;
mod journey;
mod models;
mod probe;
mod tftp;
mod yaml;
