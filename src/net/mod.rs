//! Linux plumbing without policy: interfaces and their addresses, UDP and packet sockets, the ARP table, and
//! explanations of failed `bind` calls. `server/`, `content/` and `cli/` call it. It never decides which client gets
//! which answer.

pub mod bind_error;
pub mod bpf;
pub mod capture_filter;
pub mod datagram;
pub mod fd_limit;
pub mod frame_tap;
pub mod interface;
pub mod listeners;
pub mod neighbours;
pub mod packet_socket;
pub mod ping;
pub mod quota;
pub mod readable;
pub mod served;
pub mod snapshot;
mod start_error;
pub mod udp;
pub mod wake;

pub use start_error::StartError;
