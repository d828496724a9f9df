//! The statements of dhcpd that set something, and the reasons for those that are not taken (manual pages dhcpd.conf(5)
//! and dhcp-options(5)).

use super::expression::number;
use super::importer::Importer;
use super::lexer::{Kind, Token};
use super::literal::{Literal, literal};
use super::options::dotted;
use super::scope::Scope;
use super::tree::{Statement, name};
use crate::import::place::Place;
use crate::import::site::{Bootp, INFINITE, Settings, Timer, not_taken};

/// The main space.
const DHCP: &str = "dhcp";
const SUBNET_MASK: u8 = 1;
const CLIENT_ID: u8 = 61;

/// Statements without a counterpart in `config.yaml`, each with the reason.
const REASONS: &[(&str, &str)] = &[
    ("adaptive-lease-time-threshold", "lanboot has no such threshold"),
    ("algorithm", "lanboot does not update DNS"),
    ("db-time-format", "lanboot keeps its leases in a database"),
    ("ddns-domainname", "lanboot does not update DNS"),
    ("ddns-hostname", "lanboot does not update DNS"),
    ("delayed-ack", "lanboot stores many leases in one commit anyway"),
    ("dhcp-cache-threshold", "lanboot stores every lease"),
    ("do-forward-updates", "lanboot does not update DNS"),
    ("do-reverse-updates", "lanboot does not update DNS"),
    ("echo-client-id", "see `dhcp.echo_client_id`, which counts for the whole server"),
    ("execute", "lanboot runs no programs"),
    ("failover", "lanboot has no failover"),
    ("get-lease-hostnames", "lanboot looks up no host names"),
    ("infinite-is-reserved", "lanboot reserves addresses by `machines`"),
    ("key", "lanboot does not update DNS"),
    ("lease-file-name", "lanboot keeps its leases in `state`; see `lanboot leases import`"),
    ("lease-id-format", "lanboot keeps its leases in a database"),
    ("leasequery", "lanboot answers no DHCPLEASEQUERY"),
    ("local-address", "lanboot serves `interfaces`"),
    ("local-port", "see `dhcp.ports`"),
    ("log", "lanboot writes its own log"),
    ("log-facility", "lanboot logs to standard error and the journal: see `log`"),
    ("log-threshold-high", "lanboot writes its own log"),
    ("log-threshold-low", "lanboot writes its own log"),
    ("max-ack-delay", "lanboot stores many leases in one commit anyway"),
    ("min-secs", "lanboot answers at once"),
    ("omapi-key", "lanboot has no OMAPI"),
    ("omapi-port", "lanboot has no OMAPI"),
    ("on", "lanboot runs no statements at events"),
    ("one-lease-per-client", "lanboot ends a client's other leases in the subnet anyway"),
    ("parse-vendor-class", "lanboot has nothing like it"),
    ("pid-file-name", "lanboot writes no PID file"),
    ("ping-timeout", "see `dhcp.conflict_check`"),
    ("ping-timeout-ms", "see `dhcp.conflict_check`"),
    ("prepend", "lanboot sends fixed values only"),
    ("append", "lanboot sends fixed values only"),
    ("default", "lanboot sends fixed values only"),
    ("remote-port", "lanboot answers relay agents at port 67"),
    ("send", "only clients have it"),
    ("server-id-check", "lanboot always compares the server identifier"),
    ("server-identifier", "lanboot sends the address that the client reaches"),
    ("set", "lanboot has no variables"),
    ("unset", "lanboot has no variables"),
    ("site-option-space", "lanboot knows one space of options"),
    ("spawn", "lanboot has no classes that are named after a client's value"),
    ("stash-agent-options", "lanboot keeps no relay information between messages"),
    ("switch", "write `if` and `elsif`"),
    ("update-conflict-detection", "lanboot does not update DNS"),
    ("update-optimization", "lanboot does not update DNS"),
    ("update-static-leases", "lanboot does not update DNS"),
    ("use-lease-addr-for-default-route", "write `option routers` with the address"),
    ("zone", "lanboot does not update DNS"),
    ("authoring-byte-order", "it belongs to a lease file"),
    ("interface", "lanboot knows the subnet by the addresses of the interface"),
    ("ignore-client-uids", "see `dhcp.match_client_id`, which counts for the whole server"),
    ("check-secs-byte-order", "lanboot does not look at `secs`"),
    ("lease", "lanboot bounds no classes"),
];

impl Importer {
    /// Reads a statement that sets something. Returns false if it does not.
    pub(super) fn setting(&mut self, scope: &mut Scope, statement: &Statement) -> bool {
        let keyword = statement.keyword();
        let mut settings = Settings::default();
        match keyword.as_str() {
            "option" => self.option(scope, statement, 1),
            "supersede" => {
                let skip = if statement.word(1).as_deref() == Some("option") { 2 } else { 1 };
                self.option(scope, statement, skip);
            }
            "vendor-option-space" => {
                let space = statement.name(1);
                space.into_iter().for_each(|space| scope.set_vendor_space(space, statement.place()));
            }
            "default-lease-time" => settings.lease.default = self.seconds(statement),
            "max-lease-time" => settings.lease.max = self.seconds(statement),
            "min-lease-time" => settings.lease.min = self.seconds(statement),
            "filename" => settings.boot_file = self.text(statement),
            "server-name" => settings.server_name = self.text(statement),
            "next-server" => {
                let (text, _) = dotted(statement.after(1));
                match text.parse::<std::net::Ipv4Addr>() {
                    Ok(address) => settings.next_server = Some(address),
                    Err(_) => {
                        let why = "lanboot looks up no host names: write its address";
                        self.problems
                            .add(statement.place(), format!("next-server {text} is not taken: {why}"));
                    }
                }
            }
            "use-host-decl-names" => scope.flags.names_hosts = self.boolean(statement),
            "boot-unknown-clients" => scope.flags.serves_unknown = self.boolean(statement),
            "allow" | "deny" | "ignore" => return self.permission(scope, statement),
            "authoritative" => self.site.is_authoritative = true,
            "not" => self.site.is_authoritative = false,
            "always-broadcast" => self.site.always_broadcast = self.boolean(statement) == Some(true),
            // lanboot puts the cookie into every answer that has options, and BOOTP clients send it.
            "always-reply-rfc1048" => {}
            "ping-check" => self.site.conflict_check = self.boolean(statement),
            "abandon-lease-time" => self.site.decline_time = self.seconds(statement),
            _ => return self.reason(statement, &keyword),
        }
        if !settings.is_empty() {
            scope.set(settings);
        }
        true
    }

    /// Names a statement without a counterpart.
    fn reason(&mut self, statement: &Statement, keyword: &str) -> bool {
        let is_ddns = keyword.starts_with("ddns-") || keyword.starts_with("ldap-");
        let row = REASONS.iter().find(|(other, _)| *other == keyword);
        let why = match row {
            Some((_, why)) => why,
            None if keyword.starts_with("ldap-") => "lanboot reads no LDAP",
            None if is_ddns => "lanboot does not update DNS",
            None => return false,
        };
        self.problems.add_kind(statement.place(), format!("`{keyword}` is not taken: {why}"));
        true
    }

    /// Reads `allow`, `deny` and `ignore` outside of pools. Those of pools are left to them.
    fn permission(&mut self, scope: &mut Scope, statement: &Statement) -> bool {
        let allows = statement.keyword() == "allow";
        let words: Vec<String> = statement.after(1).iter().filter_map(Token::keyword).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["unknown-clients" | "unknown"] => scope.flags.serves_unknown = Some(allows),
            ["booting"] => scope.flags.serves = Some(allows),
            ["bootp"] => self.site.bootp = if allows { Bootp::Reserved } else { Bootp::Off },
            ["client-updates"] => {
                let why = "lanboot does not update DNS";
                self.problems.add_kind(statement.place(), format!("`client-updates` is not taken: {why}"));
            }
            [word @ ("duplicates" | "declines" | "leasequery" | "dynamic-bootp")] => {
                let why = "lanboot has no such switch";
                self.problems.add_kind(statement.place(), format!("`{word}` is not taken: {why}"));
            }
            _ => return false,
        }
        true
    }

    fn option(&mut self, scope: &mut Scope, statement: &Statement, skip: usize) {
        let tokens = statement.after(skip);
        let is_definition =
            tokens.iter().any(|token| token.is("code")) && tokens.iter().any(|it| it.is_sign(b'='));
        let is_space = tokens.first().is_some_and(|token| token.is("space")) && !is_definition;
        let done = if is_space {
            self.definitions.space(&statement.tokens)
        } else if is_definition {
            self.definitions.define(&statement.tokens)
        } else {
            self.option_value(scope, tokens, statement.place())
        };
        if let Err(why) = done {
            let text =
                if why.contains("is not taken") { why } else { format!("this option is not taken: {why}") };
            self.problems.add(statement.place(), text);
        }
    }

    fn option_value(&mut self, scope: &mut Scope, tokens: &[Token], place: Place) -> Result<(), String> {
        let value = self.definitions.value(tokens)?;
        if value.space != DHCP {
            scope.set_inner(value.space, value.code, value.bytes, place);
            return Ok(());
        }
        let code = u8::try_from(value.code).map_err(|_| format!("there is no option {}", value.code))?;
        let mut settings = Settings::default();
        match (code, <[u8; 4]>::try_from(value.bytes.as_slice())) {
            (58, Ok(octets)) => settings.renew = Some(Timer::Seconds(u32::from_be_bytes(octets))),
            (59, Ok(octets)) => settings.rebind = Some(Timer::Seconds(u32::from_be_bytes(octets))),
            // dhcpd adds the option to the list that the client asked for.
            (55, _) => {
                let codes = value.bytes.iter().copied();
                let mut settings = Settings::default();
                settings.always.extend(codes);
                scope.settings.always.extend(settings.always);
                return Ok(());
            }
            _ => {
                // `subnets.rs` compares the mask, and in `hosts.rs` the client id is an identifier.
                let is_read_later = matches!(code, SUBNET_MASK | CLIENT_ID);
                if let Some(why) = not_taken(code, Some(&value.bytes)).filter(|_| !is_read_later) {
                    return Err(why);
                }
                settings.options.insert(code, Some(value.bytes));
            }
        }
        scope.set(settings);
        Ok(())
    }

    fn text(&mut self, statement: &Statement) -> Option<String> {
        match statement.after(1) {
            [Token { kind: Kind::Text(text), .. }] => {
                Some(String::from_utf8_lossy(text).into_owned()).filter(|text| !text.is_empty())
            }
            tokens if tokens.first().is_some_and(|token| token.is_sign(b'=')) => {
                let data = super::expression::data(tokens.get(1..).unwrap_or_default()).ok();
                match data.as_ref().and_then(literal) {
                    Some(Literal::Bytes(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                    _ => {
                        let why = "lanboot computes no names, it must be fixed";
                        let what = format!("`{}` is not taken: {why}", statement.keyword());
                        self.problems.add(statement.place(), what);
                        None
                    }
                }
            }
            _ => {
                let what = format!("`{}` is not taken: expected a text in quotes", statement.keyword());
                self.problems.add(statement.place(), what);
                None
            }
        }
    }

    pub(super) fn seconds(&mut self, statement: &Statement) -> Option<u32> {
        let word = statement.tokens.last().and_then(name).unwrap_or_default();
        let is_negative = statement.tokens.get(1).is_some_and(|token| token.is_sign(b'-'));
        if word.eq_ignore_ascii_case("infinite") || is_negative && word == "1" {
            return Some(INFINITE);
        }
        let seconds = number(&word).filter(|_| !is_negative).and_then(|number| u32::try_from(number).ok());
        if seconds.is_none() {
            let what = format!("`{}` is not taken: expected seconds", statement.keyword());
            self.problems.add(statement.place(), what);
        }
        seconds
    }

    fn boolean(&mut self, statement: &Statement) -> Option<bool> {
        match statement.word(1).as_deref() {
            Some("true" | "on") => Some(true),
            Some("false" | "off") => Some(false),
            _ => {
                let what = format!("`{}` is not taken: expected true or false", statement.keyword());
                self.problems.add(statement.place(), what);
                None
            }
        }
    }
}
