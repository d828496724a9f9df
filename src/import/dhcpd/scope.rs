//! The settings of one scope of a `dhcpd.conf`: its statements in order, and its conditions.
//!
//! dhcpd executes the statements of a scope one after the other, so a later statement counts more. In a list of classes
//! an earlier one counts more. Conditions are therefore kept in reverse order.

use std::collections::BTreeMap;

use crate::import::condition::Condition;
use crate::import::place::Place;
use crate::import::site::Settings;

/// Everything that a scope says of the clients in it.
#[derive(Clone, Default, Debug)]
pub(super) struct Scope {
    pub settings: Settings,
    /// Conditions with their settings. An earlier one counts more.
    pub conditionals: Vec<Conditional>,
    pub flags: Flags,
    /// The options of other spaces than DHCP's, also those of the scopes around this one.
    pub spaces: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// The spaces with options in this scope itself, and the places of these options.
    pub changed: BTreeMap<String, Vec<Place>>,
    /// The space whose options are option 43.
    pub vendor_space: Option<String>,
    /// The place where this scope itself names that space.
    pub vendor_space_place: Option<Place>,
}

/// Switches of a scope.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Flags {
    /// `use-host-decl-names`
    pub names_hosts: Option<bool>,
    /// Whether clients without a host declaration get addresses.
    pub serves_unknown: Option<bool>,
    /// Whether clients get an answer at all.
    pub serves: Option<bool>,
}

/// Settings of the clients that meet a condition.
#[derive(Clone, Debug)]
pub(super) struct Conditional {
    pub place: Place,
    pub condition: Condition,
    pub settings: Settings,
    pub is_ignored: bool,
}

impl Scope {
    /// Returns the scope of a block inside this one, which has no settings yet.
    pub fn inside(&self) -> Scope {
        Scope {
            spaces: self.spaces.clone(),
            vendor_space: self.vendor_space.clone(),
            flags: self.flags,
            ..Scope::default()
        }
    }

    /// Sets `settings`, which come after everything that the scope says so far.
    pub fn set(&mut self, mut settings: Settings) {
        for conditional in &mut self.conditionals {
            conditional.settings.remove(&settings);
        }
        self.conditionals.retain(|it| it.is_ignored || !it.settings.is_empty());
        settings.inherit(&self.settings);
        self.settings = settings;
    }

    /// Sets an option of another space.
    pub fn set_inner(&mut self, space: String, code: u32, bytes: Vec<u8>, place: Place) {
        self.spaces.entry(space.clone()).or_default().insert(code, bytes);
        self.changed.entry(space).or_default().push(place);
    }

    pub fn set_vendor_space(&mut self, space: String, place: Place) {
        self.vendor_space = Some(space);
        self.vendor_space_place = Some(place);
    }
}
