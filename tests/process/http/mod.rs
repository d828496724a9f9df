//! Boot files and scripts over HTTP.

mod rows;
mod serve;
