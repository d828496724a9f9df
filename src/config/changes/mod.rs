//! Changes that people make to the running server: the target of a machine's next boot, and reserved addresses. They
//! never change config.yaml. The server stores them in its state folder (`content/changes.rs`) and applies them to the
//! settings of the file ([`apply`]), after each start and reload.

mod apply;
mod change;

pub use apply::{Applied, apply, pin_conflict, pin_yaml};
pub use change::{
    Changes, MAX_NAME, MAX_ONCE, MAX_PINS, MachineKey, NamedMachine, Once, Pin, Refused, unknown_machine,
};

#[cfg(test)]
mod tests;
