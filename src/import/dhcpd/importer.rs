//! The state of one import of a `dhcpd.conf`.

use std::collections::HashSet;

use super::class_name::class_name;
use super::expression::Data;
use super::options::Definitions;
use super::scope::{Conditional, Flags};
use crate::import::condition::Condition;
use crate::import::place::Place;
use crate::import::problems::Problems;
use crate::import::site::{Class, Level, Settings, Site};

/// The state of one import.
pub(super) struct Importer {
    pub site: Site,
    pub definitions: Definitions,
    pub problems: Problems,
    /// Names that machines have already.
    pub names: HashSet<String>,
    /// Names that classes have already.
    pub class_names: HashSet<String>,
    pub classes: Vec<Draft>,
    /// Conditions of subnets, with the networks that they count for.
    pub local: Vec<(Vec<String>, Conditional)>,
}

/// A class that is not complete before the end of the files.
pub(super) struct Draft {
    pub class: Class,
    /// The value that `match` compares with those of subclasses.
    pub data: Option<Data>,
    /// The conditions of its subclasses.
    pub members: Vec<Condition>,
    /// Classes that come before it.
    pub before: Vec<Class>,
}

/// The groups around a declaration.
#[derive(Clone, Default)]
pub(super) struct Around {
    pub settings: Settings,
    pub conditionals: Vec<Conditional>,
    /// The classes that hosts in the groups are members of.
    pub classes: Vec<String>,
    pub flags: Flags,
}

impl Importer {
    pub fn push_class(&mut self, class: Class) {
        self.classes.push(Draft { class, data: None, members: Vec::new(), before: Vec::new() });
    }

    pub fn plain_class(&mut self, name: String, place: Place, level: Level) -> Class {
        Class {
            place,
            name,
            condition: None,
            is_ignored: false,
            settings: Settings::default(),
            level,
            options_level: level,
            comments: Vec::new(),
        }
    }

    pub fn conditional_class(
        &mut self,
        name: String,
        conditional: &Conditional,
        condition: Condition,
        level: Level,
    ) -> Class {
        let mut class = self.plain_class(name, conditional.place, level);
        class.condition = Some(condition);
        class.settings = conditional.settings.clone();
        class.is_ignored = conditional.is_ignored;
        class
    }

    /// Returns `name`, or with a number if a class has it already.
    pub fn unique_class(&mut self, name: &str) -> String {
        let mut unique = class_name(name);
        let mut number = 2;
        while !self.class_names.insert(unique.clone()) {
            unique = format!("{}-{number}", class_name(name));
            number += 1;
        }
        unique
    }
}
