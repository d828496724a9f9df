//! dhcpd's host declarations.

use super::importer::{Around, Importer};
use super::options::{dotted, hex};
use super::scope::Scope;
use super::tree::{Statement, name};
use crate::import::site::{Identifier, Machine, Settings};

const HOST_NAME: u8 = 12;
const CLIENT_ID: u8 = 61;

impl Importer {
    /// Reads `host NAME { … }`.
    pub(super) fn host(&mut self, statement: &Statement, around: &Scope, groups: &Around) {
        let name = match statement.after(1) {
            [one] => name(one).unwrap_or_default(),
            tokens => dotted(tokens).0,
        };
        let (mut scope, others) = self.scope(statement.statements(), around);
        let mut identifiers = Vec::new();
        let mut addresses = Vec::new();
        for other in others {
            match other.keyword().as_str() {
                "hardware" => identifiers.extend(self.hardware(other)),
                "fixed-address" => self.addresses(other, &mut addresses),
                "host-identifier" => identifiers.extend(self.identifier(other)),
                "uid" | "dhcp-client-identifier" | "client-identifier" => match value(other.after(1)) {
                    Some(bytes) => identifiers.push(Identifier::ClientId(bytes)),
                    None => self.unknown(other),
                },
                // Marks of dhcpd in its lease file.
                "dynamic" => {}
                _ => self.unknown(other),
            }
        }
        if let Some(Some(bytes)) = scope.settings.options.remove(&CLIENT_ID) {
            identifiers.push(Identifier::ClientId(bytes));
        }
        if identifiers.is_empty() {
            let why = "it has no identifier that lanboot knows";
            self.problems.add(statement.place(), format!("host {name:?} is not taken: {why}"));
            return;
        }
        if scope.flags.names_hosts == Some(true) && !name.is_empty() {
            let is_named = scope.settings.options.contains_key(&HOST_NAME)
                || groups.settings.options.contains_key(&HOST_NAME);
            if !is_named {
                scope.settings.options.insert(HOST_NAME, Some(name.clone().into_bytes()));
            }
        }
        let is_ignored = scope.flags.serves == Some(false);
        let mut classes = groups.classes.clone();
        let mut settings = Settings::default();
        if scope.conditionals.is_empty() {
            settings = std::mem::take(&mut scope.settings);
            // Groups with conditions have their settings in classes.
            settings.inherit(&groups.settings);
        } else {
            // A machine's own settings would come before those of its conditions.
            scope.settings.inherit(&groups.settings);
            let class = self.unique_class(&format!("host-{name}"));
            self.member_class(&class, statement.place(), &scope);
            classes.insert(0, class);
        }
        let unique = Some(name).filter(|name| !name.is_empty() && self.names.insert(name.clone()));
        self.site.machines.push(Machine {
            place: statement.place(),
            name: unique,
            identifiers,
            addresses,
            is_ignored,
            classes,
            settings,
            comments: Vec::new(),
        });
    }

    /// Reads `hardware ethernet MAC`.
    fn hardware(&mut self, statement: &Statement) -> Option<Identifier> {
        let bytes = hex(statement.after(2)).map(|(bytes, _)| bytes).unwrap_or_default();
        let is_ethernet = statement.word(1).as_deref() == Some("ethernet");
        match <[u8; 6]>::try_from(bytes.as_slice()) {
            Ok(mac) if is_ethernet => Some(Identifier::Mac(mac)),
            _ => {
                let why =
                    "expected `ethernet` and a MAC address; other machines are known by their client id";
                self.problems.add(statement.place(), format!("`hardware` is not taken: {why}"));
                None
            }
        }
    }

    /// Reads `fixed-address A, B`.
    fn addresses(&mut self, statement: &Statement, addresses: &mut Vec<std::net::Ipv4Addr>) {
        for tokens in statement.after(1).split(|token| token.is_sign(b',')) {
            let (text, _) = dotted(tokens);
            match text.parse() {
                Ok(address) if !addresses.contains(&address) => addresses.push(address),
                Ok(_) => {}
                Err(_) => {
                    let why = "lanboot looks up no host names: write its address";
                    self.problems.add(statement.place(), format!("fixed-address {text} is not taken: {why}"));
                }
            }
        }
    }

    /// Reads `host-identifier option NAME VALUE`.
    fn identifier(&mut self, statement: &Statement) -> Option<Identifier> {
        let (option, used) = dotted(statement.after(2));
        let bytes = value(statement.after(2 + used));
        match (option.as_str(), bytes) {
            ("agent.circuit-id", Some(bytes)) => Some(Identifier::CircuitId(bytes)),
            ("agent.remote-id", Some(bytes)) => Some(Identifier::RemoteId(bytes)),
            ("dhcp-client-identifier", Some(bytes)) => Some(Identifier::ClientId(bytes)),
            _ => {
                let why = "lanboot knows machines by MAC, client id, circuit id and remote id";
                self.problems.add(statement.place(), format!("`host-identifier` is not taken: {why}"));
                None
            }
        }
    }
}

/// Reads a text in quotes, or bytes like `01:0a`.
fn value(tokens: &[super::lexer::Token]) -> Option<Vec<u8>> {
    match tokens.first()?.kind {
        super::lexer::Kind::Text(ref text) => Some(text.to_vec()),
        _ => hex(tokens).map(|(bytes, _)| bytes),
    }
}
