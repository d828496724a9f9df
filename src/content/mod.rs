//! The content that a client gets for a file name: a file, a rendered template or a generated script. TFTP and HTTP
//! call [`lookup`]; DHCP reports to [`machines`] which machine has which address. It never sends anything.

pub mod asker;
pub mod folders;
pub mod generated;
pub mod log_once;
pub mod lookup;
pub mod machines;
pub mod once;
pub mod subject;
pub mod templates;
