//! The input of a rule.

use std::time::Duration;

use crate::journey::boot::BootStage;
use crate::journey::evidence::Evidence;
use crate::journey::site::Site;

/// A boot to be judged.
#[derive(Debug)]
pub struct Case<'a> {
    pub e: &'a Evidence,
    /// The time since the last step, if the firmware speaks again; `None` if the machine is silent.
    pub again: Option<Duration>,
    pub site: &'a Site,
    pub stage: BootStage,
}
