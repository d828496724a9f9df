//! The API of the real binary, by the control socket and the web listener.

mod attacks;
mod client;
mod events;
mod listen;
mod routes;
mod schema;
mod syslog;
