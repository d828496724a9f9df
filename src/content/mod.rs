//! The content that a client gets for a file name: a file, a rendered template or a generated script. TFTP and HTTP
//! call [`lookup`]; DHCP reports to [`machines`] which machine has which address. It never sends anything.

pub mod changes;
mod checked_file;
pub mod file_work;
pub mod folders;
pub mod generated;
pub mod log_once;
pub mod lookup;
pub mod machines;
pub mod once;
mod once_file;
pub mod requester;
pub mod served_files;
pub mod subject;
pub mod templates;
