//! Reads the statements of a scope: its settings, and `if … elsif … else …`.

use std::collections::BTreeMap;

use super::importer::Importer;
use super::options::encapsulated;
use super::scope::{Conditional, Scope};
use super::tree::Statement;
use super::{expression, translate};
use crate::import::condition::Condition;
use crate::import::place::Place;
use crate::import::site::{Settings, not_taken};

impl Importer {
    /// Reads the statements of a scope. Returns those that declare something else than settings too.
    pub(super) fn scope<'s>(
        &mut self,
        statements: &'s [Statement],
        around: &Scope,
    ) -> (Scope, Vec<&'s Statement>) {
        let mut scope = around.inside();
        let mut others = Vec::new();
        let mut rest = statements;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first.keyword().as_str() {
                "if" => {
                    let is_branch =
                        |it: &&Statement| matches!(it.keyword().as_str(), "elsif" | "elseif" | "else");
                    let count = rest.iter().take_while(is_branch).count();
                    let (branches, after) = rest.split_at_checked(count).unwrap_or((&[], rest));
                    rest = after;
                    let chain: Vec<&Statement> = std::iter::once(first).chain(branches).collect();
                    self.chain(&mut scope, &chain);
                }
                _ if self.setting(&mut scope, first) => {}
                _ => others.push(first),
            }
        }
        self.finish_spaces(&mut scope);
        (scope, others)
    }

    /// Reads `if … elsif … else …`.
    fn chain(&mut self, scope: &mut Scope, branches: &[&Statement]) {
        let mut earlier: Vec<(Condition, Settings)> = Vec::new();
        let mut conditionals = Vec::new();
        for branch in branches {
            let Some(condition) = self.branch_condition(branch) else { continue };
            let (inside, others) = self.scope(branch.statements(), scope);
            for other in others {
                self.problems
                    .add(other.place(), format!("`{}` inside a condition is not taken", other.keyword()));
            }
            let covers = earlier.iter().all(|(_, settings)| settings.covers(&inside.settings));
            let is_simple = covers && inside.conditionals.is_empty() && inside.flags == scope.flags;
            let mut parts = vec![condition.clone()];
            if !is_simple {
                let before = earlier.iter().filter(|(other, _)| !condition.excludes(other));
                parts.extend(before.map(|(other, _)| other.clone().negated()));
            }
            let whole = Condition::all(parts);
            for nested in inside.conditionals {
                let condition = Condition::all([whole.clone(), nested.condition]);
                conditionals.push(Conditional { condition, ..nested });
            }
            let is_ignored = inside.flags.serves == Some(false) && scope.flags.serves != Some(false);
            if whole == Condition::Always && !is_ignored {
                // The last branch is for all others. Earlier branches come before it anyway.
                let mut settings = inside.settings.clone();
                settings.inherit(&scope.settings);
                scope.settings = settings;
            } else if whole != Condition::Never && (is_ignored || !inside.settings.is_empty()) {
                conditionals.push(Conditional {
                    place: branch.place(),
                    condition: whole,
                    settings: inside.settings.clone(),
                    is_ignored,
                });
            }
            earlier.push((condition, inside.settings));
        }
        conditionals.append(&mut scope.conditionals);
        scope.conditionals = conditionals;
    }

    /// Returns the condition of a branch. One that `match` cannot express is named, and its branch is left out.
    fn branch_condition(&mut self, branch: &Statement) -> Option<Condition> {
        let skip = match branch.keyword().as_str() {
            "else" if branch.word(1).as_deref() == Some("if") => 2,
            "else" => return Some(Condition::Always),
            _ => 1,
        };
        let parsed = expression::test(branch.after(skip)).map_err(|(_, why)| why);
        match parsed.and_then(|test| translate::condition(&test, &self.definitions)) {
            Ok(condition) => Some(condition),
            Err(why) => {
                self.problems
                    .add(branch.place(), format!("this condition and its block are not taken: {why}"));
                None
            }
        }
    }

    /// Writes the options of other spaces into the options that encapsulate them.
    fn finish_spaces(&mut self, scope: &mut Scope) {
        let mut targets: BTreeMap<u8, (Vec<u8>, Vec<Place>)> = BTreeMap::new();
        for (space, options) in &scope.spaces {
            let places = scope.changed.get(space);
            let is_vendor = scope.vendor_space.as_ref() == Some(space);
            let mut outer = self.definitions.outer(space);
            outer.retain(|_| places.is_some());
            let vendor_place = scope.vendor_space_place.filter(|_| is_vendor);
            if is_vendor && (places.is_some() || vendor_place.is_some()) {
                outer.push((43, None));
            }
            let places: Vec<Place> = match places {
                Some(places) => places.clone(),
                None => vendor_place.into_iter().collect(),
            };
            for (code, enterprise) in outer {
                match encapsulated(options, enterprise) {
                    Some(bytes) => {
                        let (target, all) = targets.entry(code).or_default();
                        target.extend(bytes);
                        all.extend(&places);
                    }
                    None => {
                        let why = "they do not fit codes and lengths of one byte";
                        let text = format!("the options of space {space} are not taken: {why}");
                        places.iter().for_each(|place| self.problems.add(*place, text.clone()));
                    }
                }
            }
        }
        for (code, (bytes, places)) in targets {
            if let Some(why) = not_taken(code, Some(&bytes)) {
                let text = format!("this suboption of {why}");
                places.iter().for_each(|place| self.problems.add(*place, text.clone()));
                continue;
            }
            let mut settings = Settings::default();
            settings.options.insert(code, Some(bytes));
            scope.set(settings);
        }
    }
}
