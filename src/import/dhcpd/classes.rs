//! dhcpd's classes and subclasses.

use super::class_name::class_name;
use super::importer::{Draft, Importer};
use super::literal::literal;
use super::scope::Scope;
use super::tree::{Statement, name};
use super::{expression, translate};
use crate::import::condition::Condition;
use crate::import::place::Place;
use crate::import::site::Level;

impl Importer {
    /// Reads `class "NAME" { … }`.
    pub(super) fn class(&mut self, statement: &Statement, around: &Scope) {
        let Some(name) = statement.name(1) else {
            self.problems.add(statement.place(), "a class without a name is not taken");
            return;
        };
        let name = class_name(&name);
        if !self.class_names.insert(name.clone()) {
            self.problems
                .add(statement.place(), format!("class {name:?} is declared twice: not taken again"));
            return;
        }
        let (scope, others) = self.scope(statement.statements(), around);
        let mut class = self.plain_class(name.clone(), statement.place(), Level::Class);
        class.is_ignored = scope.flags.serves == Some(false) && around.flags.serves != Some(false);
        let mut data = None;
        for other in others {
            match (other.keyword().as_str(), other.word(1).as_deref()) {
                ("match", Some("if")) => {
                    let parsed = expression::test(other.after(2)).map_err(|(_, why)| why);
                    match parsed.and_then(|test| translate::condition(&test, &self.definitions)) {
                        Ok(condition) => class.condition = Some(condition),
                        Err(why) => {
                            let what =
                                format!("the test of class {name:?} is not taken, so no client is in it");
                            self.problems.add(other.place(), format!("{what}: {why}"));
                        }
                    }
                }
                ("match", _) => match expression::data(other.after(1)) {
                    Ok(value) => data = Some(value),
                    Err((_, why)) => {
                        self.problems.add(other.place(), format!("class {name:?} has no members: {why}"));
                    }
                },
                _ => self.unknown(other),
            }
        }
        let mut before = Vec::new();
        for conditional in &scope.conditionals {
            let own = self.unique_class(&format!("{name}-{}", conditional.place.line));
            let condition = Condition::all([Condition::Class(name.clone()), conditional.condition.clone()]);
            before.push(self.conditional_class(own, conditional, condition, Level::Class));
        }
        class.settings = scope.settings;
        self.classes.push(Draft { class, data, members: Vec::new(), before });
    }

    /// Reads `subclass "NAME" VALUE;` or the same with a block.
    pub(super) fn subclass(&mut self, statement: &Statement, around: &Scope) {
        let class = statement.name(1).map(|name| class_name(&name)).unwrap_or_default();
        let at = self.classes.iter().position(|draft| draft.class.name == class);
        let place = statement.place();
        let Some(draft) = at.and_then(|at| self.classes.get(at)) else {
            self.problems.add(place, format!("the subclass is not taken: class {class:?} is not declared"));
            return;
        };
        let Some(data) = draft.data.clone() else {
            let why = "its class has no `match` of a value";
            self.problems.add(place, format!("the subclass of {class:?} is not taken: {why}"));
            return;
        };
        let value = expression::data(statement.after(2))
            .map_err(|(_, why)| why)
            .and_then(|value| literal(&value).ok_or_else(|| "its value must be fixed".to_owned()));
        let condition = match value.and_then(|value| translate::equal(&data, &value, &self.definitions)) {
            Ok(condition) => condition,
            Err(why) => {
                self.problems.add(place, format!("the subclass of {class:?} is not taken: {why}"));
                return;
            }
        };
        let mut own = Vec::new();
        if statement.block.is_some() {
            let (scope, others) = self.scope(statement.statements(), around);
            others.iter().for_each(|other| self.unknown(other));
            let is_ignored = scope.flags.serves == Some(false) && around.flags.serves != Some(false);
            for conditional in &scope.conditionals {
                let both = Condition::all([condition.clone(), conditional.condition.clone()]);
                let name = self.unique_class(&format!("{class}-{}", conditional.place.line));
                own.push(self.conditional_class(name, conditional, both, Level::Class));
            }
            if is_ignored || !scope.settings.is_empty() {
                let name = self.unique_class(&format!("{class}-{}", statement.at.line));
                let mut sub = self.plain_class(name, place, Level::Class);
                sub.condition = Some(condition.clone());
                sub.settings = scope.settings;
                sub.is_ignored = is_ignored;
                own.push(sub);
            }
        }
        if let Some(draft) = at.and_then(|at| self.classes.get_mut(at)) {
            draft.members.push(condition);
            draft.before.extend(own);
        }
    }

    /// Returns the name of the class that `members of "NAME"` names. Adds the class if no file declares it.
    pub(super) fn members_of(&mut self, statement: &Statement, place: Place) -> Option<String> {
        let class = class_name(&statement.tokens.last().and_then(name)?);
        if !self.class_names.contains(&class) {
            self.problems.add(place, format!("class {class:?} is not declared, so no client is in it"));
            self.class_names.insert(class.clone());
            let added = self.plain_class(class.clone(), place, Level::Class);
            self.push_class(added);
        }
        Some(class)
    }
}
