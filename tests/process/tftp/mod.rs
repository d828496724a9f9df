//! Boot files over TFTP: lanboot's own engine, and the crate async-tftp.

mod async_tftp;
mod native;
mod rows;
