//! A PXE client's brain: bytes in, what to send and how long to wait out. It shares only `wire/` with the server, so
//! that it does not share the server's mistakes.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
