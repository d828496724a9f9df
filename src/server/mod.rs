//! Sockets, tasks, and the life of the process: bind → ready → run → drain → stop.

pub mod tftp_async;
