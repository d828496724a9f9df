//! The DHCP server and the proxy: one message in, at most one reply out.

mod allocation;
mod claims;
mod classes;
mod conversations;
mod hostile;
mod machines;
mod offers;
mod options;
mod other_servers;
mod proxy;
mod recorded;
mod reload;
mod renewals;
mod server;
mod suite;
mod values;
