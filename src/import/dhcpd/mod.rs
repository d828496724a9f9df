//! Translates the configuration of ISC dhcpd.
//!
//! `lexer.rs` and `tree.rs` read statements and blocks. `scope.rs` and `statements.rs` collect the settings of a scope,
//! `expression.rs` and `translate.rs` turn conditions into `match`, `options.rs` computes options to bytes.

mod class_name;
mod classes;
mod conditions;
mod expression;
mod hosts;
mod importer;
mod lexer;
mod literal;
mod options;
mod scope;
mod statements;
mod subnets;
mod translate;
mod tree;

use std::collections::HashSet;

use importer::{Around, Importer};
use options::Definitions;
use scope::{Conditional, Scope};
use tree::Statement;

use super::Imported;
use super::condition::Condition;
use super::place::Place;
use super::problems::Problems;
use super::site::{Lease, Level, Site};
use super::sources::Sources;
use crate::import::failure::Failed;
use crate::import::finish::finish;

/// dhcpd's lease times where the file has none, in seconds.
const DEFAULT_LEASE: u32 = 43_200;
const DEFAULT_MIN_LEASE: u32 = 300;
const DEFAULT_MAX_LEASE: u32 = 86_400;

/// Translates `files` as if they were one configuration.
///
/// # Errors
/// A file cannot be read, is not made of statements, or has nothing to serve.
pub fn import(files: &[String], mut sources: Sources<'_>) -> Result<Imported, Failed> {
    let mut importer = Importer {
        site: Site::default(),
        definitions: Definitions::default(),
        problems: Problems::default(),
        names: HashSet::new(),
        class_names: HashSet::new(),
        classes: Vec::new(),
        local: Vec::new(),
    };
    let mut statements = Vec::new();
    for file in files {
        statements.extend(tree::read(&mut sources, file)?);
    }
    importer.file(&statements);
    drop(statements);
    let Importer { mut site, mut problems, .. } = importer;
    site.header = vec![format!("Imported from ISC dhcpd: {}", files.join(", "))];
    let document = site.document(&mut problems);
    finish(document, problems, sources.names(), "there is no subnet")
}

impl Importer {
    fn file(&mut self, statements: &[Statement]) {
        let (scope, others) = self.scope(statements, &Scope::default());
        let around = Around { flags: scope.flags, ..Around::default() };
        self.declarations(&others, &scope, &around);
        self.site.settings = scope.settings.clone();
        let lease = &mut self.site.settings.lease;
        *lease = Lease {
            default: lease.default.or(Some(DEFAULT_LEASE)),
            max: lease.max.or(Some(DEFAULT_MAX_LEASE)),
            min: lease.min.or(Some(DEFAULT_MIN_LEASE)),
        };
        self.finish_classes(scope.conditionals);
    }

    /// Reads declarations: subnets, hosts, groups and classes.
    fn declarations(&mut self, statements: &[&Statement], scope: &Scope, around: &Around) {
        // Pools name classes, and subclasses name their class.
        for statement in statements.iter().filter(|it| it.keyword() == "class") {
            self.class(statement, scope);
        }
        for statement in statements {
            match statement.keyword().as_str() {
                "class" => {}
                "subclass" => self.subclass(statement, scope),
                "subnet" => {
                    self.subnet(statement, scope, around, None);
                }
                "shared-network" => self.shared_network(statement, scope, around),
                "group" => self.group(statement, scope, around),
                "host" => self.host(statement, scope, around),
                _ => self.unknown(statement),
            }
        }
    }

    /// Names a statement that no rule knows.
    fn unknown(&mut self, statement: &Statement) {
        let first = statement.tokens.first().map(lexer::Token::shown).unwrap_or_default();
        let what = match statement.block {
            Some(_) => format!("the block {first} is not taken: lanboot has nothing like it here"),
            None => format!("the statement {first} is not taken: lanboot has nothing like it here"),
        };
        self.problems.add(statement.place(), what);
    }

    fn group(&mut self, statement: &Statement, scope: &Scope, around: &Around) {
        let (inner, others) = self.scope(statement.statements(), scope);
        let mut inside = around.clone();
        inside.flags = inner.flags;
        let class = if inner.conditionals.is_empty() {
            let mut settings = inner.settings.clone();
            settings.inherit(&around.settings);
            inside.settings = settings;
            None
        } else {
            // A machine's own settings come before those of classes, so all of the group's go into classes.
            let name = self.unique_class(&format!("group-line-{}", statement.at.line));
            inside.classes.insert(0, name.clone());
            Some(name)
        };
        let local = inner.conditionals.iter().cloned().chain(around.conditionals.iter().cloned());
        inside.conditionals = local.collect();
        self.declarations(&others, &inner, &inside);
        if let Some(name) = class {
            self.member_class(&name, statement.place(), &inner);
        }
    }

    /// Adds the class `name` of machines, with the conditions and settings of `scope`.
    fn member_class(&mut self, name: &str, place: Place, scope: &Scope) {
        for conditional in &scope.conditionals {
            let condition =
                Condition::all([Condition::Class(name.to_owned()), conditional.condition.clone()]);
            let own = self.unique_class(&format!("{name}-{}", conditional.place.line));
            let class = self.conditional_class(own, conditional, condition, Level::Machine);
            self.push_class(class);
        }
        let mut class = self.plain_class(name.to_owned(), place, Level::Machine);
        class.settings = scope.settings.clone();
        self.push_class(class);
    }

    /// Completes the classes, and adds those for the conditions of subnets and of the top of the file.
    fn finish_classes(&mut self, global: Vec<Conditional>) {
        let mut classes = Vec::new();
        for mut draft in std::mem::take(&mut self.classes) {
            classes.append(&mut draft.before);
            if draft.data.is_some() {
                let members = Condition::any(draft.members);
                draft.class.condition = (members != Condition::Never).then_some(members);
            }
            classes.push(draft.class);
        }
        for (networks, conditional) in self.local_conditions() {
            let is_everywhere = self.site.subnets.iter().all(|subnet| networks.contains(&subnet.name()));
            let mut condition = conditional.condition.clone();
            if !is_everywhere {
                let here = Condition::any(networks.into_iter().map(Condition::Subnet));
                condition = Condition::all([here, condition]);
            }
            let name = self.unique_class(&format!("line-{}", conditional.place.line));
            classes.push(self.conditional_class(name, &conditional, condition, Level::Subnet));
        }
        for conditional in global {
            let name = self.unique_class(&format!("line-{}", conditional.place.line));
            let condition = conditional.condition.clone();
            classes.push(self.conditional_class(name, &conditional, condition, Level::Global));
        }
        self.site.classes = classes;
    }

    /// Returns the conditions of subnets. Subnets with the same ones share them.
    fn local_conditions(&mut self) -> Vec<(Vec<String>, Conditional)> {
        let mut all: Vec<(Vec<String>, Conditional)> = Vec::new();
        for (networks, conditional) in std::mem::take(&mut self.local) {
            let same = all.iter_mut().find(|(_, other)| {
                other.condition == conditional.condition
                    && other.settings == conditional.settings
                    && other.is_ignored == conditional.is_ignored
            });
            match same {
                Some((others, _)) => {
                    for network in networks {
                        if !others.contains(&network) {
                            others.push(network);
                        }
                    }
                }
                None => all.push((networks, conditional)),
            }
        }
        all
    }
}
