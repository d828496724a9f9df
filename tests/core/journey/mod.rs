//! Journeys: conversations through the real engine in virtual time, each of which ends in exactly one verdict, or in
//! none.

mod attribution;
mod good;
mod kept;
mod lab;
mod limits;
mod lost;
mod odd;
mod syslog;
mod verdicts;
