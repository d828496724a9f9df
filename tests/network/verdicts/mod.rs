//! The verdicts of `lanboot why`: machines are made to fail against a running server, and each must get exactly the
//! verdict that fits, within its limit. Machines that boot must get none.
//!
//! Needs root. Without it the tests are skipped by name, or fail with CI=true. `VERDICT_RUNS` is the number of runs of
//! each test: `tests/long verdicts` makes twenty.

mod client;
mod firmware;
mod lan;
mod networks;
mod place;
