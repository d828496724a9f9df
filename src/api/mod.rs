//! The HTTP API of the running server, on the control socket and on the web listener.

pub mod token;
