//! Turns options, boot files and ignored clients into rules: a condition, and the effect on clients that meet it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::bundles::bundles;
use super::model::{Model, Origin};
use super::option::{NEXT_SERVER, Value as OptionValue, Wrap};
use super::sorted::Sorted;
use super::tags::Tags;
use super::values::Tag;
use crate::config::document::Value;
use crate::config::option_not_configurable;
use crate::import::condition::Condition;
use crate::import::field::Pattern;
use crate::import::options;
use crate::import::patterns::{Part, hex};
use crate::import::problems::Problems;

/// Options that dnsmasq adds itself, so that an empty value removes them: netmask, router, DNS server, host name, domain
/// and broadcast address.
const ADDED: [u32; 6] = [1, 3, 6, 12, 15, 28];
/// Options that dnsmasq never sends, whatever is configured: 57, 52, 0 and 81.
const NEVER_SENT: [u32; 4] = [0, 52, 57, 81];

/// The effect of a rule.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Effect {
    /// Sends an option; without a value, it is not sent.
    Option {
        code: u8,
        value: Value,
        is_forced: bool,
    },
    /// Sets the boot file and its server.
    Boot {
        file: Option<String>,
        server_name: Option<String>,
        server: Option<Ipv4Addr>,
        /// Whether clients that ask for options 66 and 67 find the names there.
        is_in_options: bool,
    },
    Ignore,
    /// Sets the lease time in seconds.
    Lease(u32),
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub origin: Origin,
    /// `Always` for rules without tags.
    pub condition: Condition,
    /// The ranges that the rule is for; `None` for all.
    pub ranges: Option<BTreeSet<usize>>,
    pub effect: Effect,
    /// Rules with a lower rank come first, and then later rules.
    pub rank: u8,
    /// The tags, as a name for the class.
    pub name: String,
}

/// Ranks of rules: with tags of clients, with tags of ranges too, and without tags.
pub(super) const TAGGED: u8 = 0;
pub(super) const RANGED: u8 = 1;
pub(super) const UNTAGGED: u8 = 2;

/// The rules, in the order of the files.
pub(super) fn rules(model: &Model, sorted: &Sorted, tags: &Tags, problems: &mut Problems) -> Vec<Rule> {
    let mut comments: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for setter in &model.setters {
        comments.entry(&setter.tag).or_default().extend(setter.origin.comments.iter().cloned());
    }
    for tag_if in &model.tag_ifs {
        let set = tag_if.set.first().map(String::as_str).unwrap_or_default();
        comments.entry(set).or_default().extend(tag_if.origin.comments.iter().cloned());
    }
    let mut maker = Maker { model, tags, problems, rules: Vec::new(), comments };
    maker.options();
    maker.bundles();
    for boot in &model.boots {
        maker.boot(boot);
    }
    if model.boots.is_empty() {
        maker.boot_by_options();
    }
    for ignored in &model.ignores {
        if ignored.tags.is_empty() {
            maker.problems.add(ignored.origin.place, "dhcp-ignore is not taken: it has no tags");
        } else {
            maker.add(&ignored.origin, &ignored.tags, Effect::Ignore, "dhcp-ignore");
        }
    }
    for pattern in &sorted.patterns {
        maker.host(pattern.host, &pattern.condition);
    }
    maker.rules
}

/// A short name for a list of tags.
pub(super) fn name_of(tags: &[Tag]) -> String {
    let names =
        tags.iter().map(|tag| if tag.is_negated { format!("not-{}", tag.name) } else { tag.name.clone() });
    names.collect::<Vec<_>>().join("-")
}

/// Makes the rules. `boots.rs` has the part for boot files.
pub(super) struct Maker<'m> {
    pub model: &'m Model,
    tags: &'m Tags,
    pub problems: &'m mut Problems,
    rules: Vec<Rule>,
    /// Comments of the statements that set each tag. The first rule with the tag takes them.
    comments: BTreeMap<&'m str, Vec<String>>,
}

impl Maker<'_> {
    /// Adds a rule for clients with these tags. `what` is the statement, for problems.
    pub fn add(&mut self, origin: &Origin, tags: &[Tag], effect: Effect, what: &str) {
        let Some(resolved) = self.tags.resolve(tags) else {
            self.problems.add(origin.place, format!("{what} is not taken: {}", self.tags.why_not(tags)));
            return;
        };
        let rank = match (tags.is_empty(), resolved.ranges.is_some()) {
            (true, _) => UNTAGGED,
            (false, true) if !matches!(effect, Effect::Boot { .. }) => RANGED,
            _ => TAGGED,
        };
        let mut rule = Rule {
            origin: origin.clone(),
            condition: resolved.condition,
            ranges: resolved.ranges,
            effect,
            rank,
            name: name_of(tags),
        };
        if rule.condition == Condition::Never {
            self.problems
                .add(origin.place, format!("{what} is not taken: no client can have all of its tags"));
            return;
        }
        // Options of whole ranges are written there. Everything else needs a condition.
        let is_option = matches!(rule.effect, Effect::Option { .. });
        if let Some(ranges) = rule.ranges.take_if(|_| rule.condition != Condition::Always || !is_option) {
            let Some(there) = self.tags.in_ranges(&ranges) else {
                self.problems.add(origin.place, format!("{what} is not taken: {}", self.tags.why_not(tags)));
                return;
            };
            rule.condition = Condition::all([rule.condition, there]);
        }
        for tag in tags {
            let above = self.comments.remove(tag.name.as_str()).unwrap_or_default();
            rule.origin.comments.splice(0..0, above);
        }
        self.rules.push(rule);
    }

    fn options(&mut self) {
        for rule in &self.model.options {
            let option = &rule.option;
            if option.wrap != Wrap::None || NEVER_SENT.contains(&option.code) {
                continue;
            }
            if option.code == NEXT_SERVER || matches!(option.code, 58 | 59) && option.tags.is_empty() {
                continue;
            }
            let what = format!("dhcp-option {}", option.code);
            match self.option_value(option.code, &option.value) {
                Ok(None) => {}
                Ok(Some((code, value))) => {
                    let effect = Effect::Option { code, value, is_forced: rule.is_forced };
                    self.add(&rule.origin, &option.tags, effect, &what);
                }
                Err(why) => self.problems.add(rule.origin.place, format!("{what} is not taken: {why}")),
            }
        }
    }

    /// The option as config.yaml has it; `None` if it is sent anyway.
    fn option_value(&self, code: u32, value: &OptionValue) -> Result<Option<(u8, Value)>, String> {
        let number = u8::try_from(code).map_err(|_| "options have numbers up to 254".to_owned())?;
        if code == 1 {
            let mask = value.bytes();
            let masks = self.model.ranges.iter().filter_map(|range| range.mask);
            return match masks.into_iter().all(|other| other.octets() == mask[..]) {
                true => Ok(None),
                false => Err("the mask is that of the subnet's `network`".to_owned()),
            };
        }
        if code == 60 && value.bytes() == b"PXEClient" {
            return Ok(None);
        }
        if let Some(why) = option_not_configurable(number) {
            return Err(why.to_owned());
        }
        let bytes = value.bytes();
        if bytes.is_empty() {
            return match ADDED.contains(&code) {
                true => Ok(Some((number, Value::Null))),
                false => Err("its value is empty".to_owned()),
            };
        }
        if let OptionValue::Addresses(addresses) = value
            && addresses.iter().any(Ipv4Addr::is_unspecified)
        {
            let addresses: Vec<Option<Ipv4Addr>> =
                addresses.iter().map(|address| Some(*address).filter(|it| !it.is_unspecified())).collect();
            return match options::takes_addresses(number) {
                true => Ok(Some((number, options::addresses(&addresses)))),
                false => {
                    Err("0.0.0.0 is the server's own address only in options that are addresses".to_owned())
                }
            };
        }
        let is_text = matches!(value, OptionValue::Text(_));
        let found = options::value(number, &bytes)?;
        Ok(Some((
            number,
            match found {
                // A number whose byte happens to be a letter.
                Value::Text(text) if !is_text && text.starts_with("text:") => hex(&bytes).into(),
                found => found,
            },
        )))
    }

    /// Adds the options that are made of suboptions.
    fn bundles(&mut self) {
        for bundle in bundles(&self.model.options) {
            let Some(rule) = self.model.options.get(bundle.last) else { continue };
            let what = format!("the suboption of dhcp-option {}", bundle.code);
            let mut fail =
                |why: &str| self.problems.add(rule.origin.place, format!("{what} is not taken: {why}"));
            let Ok(code) = u8::try_from(bundle.code) else {
                fail("options have numbers up to 254");
                continue;
            };
            if bundle
                .vendor
                .as_deref()
                .is_some_and(|vendor| !vendor.is_empty() && "PXEClient".contains(vendor))
            {
                fail("lanboot writes option 43 of PXE clients itself, from `boot.menu`");
                continue;
            }
            if let Some(why) = option_not_configurable(code) {
                fail(why);
                continue;
            }
            let value = match options::value(code, &bundle.bytes) {
                Ok(value) => value,
                Err(why) => {
                    fail(&why);
                    continue;
                }
            };
            let effect = Effect::Option { code, value, is_forced: bundle.is_forced };
            let before = self.rules.len();
            self.add(&rule.origin, &bundle.tags, effect, &what);
            let Some(vendor) = bundle.vendor else { continue };
            let pattern = match vendor.is_empty() {
                true => Pattern::anything(),
                false => Pattern::of(vec![
                    Part::AnyBytes,
                    Part::Bytes(vendor.clone().into_bytes()),
                    Part::AnyBytes,
                ]),
            };
            for rule in self.rules.iter_mut().skip(before) {
                let of_vendor = Condition::Field("vendor_class".to_owned(), pattern.clone());
                rule.condition = Condition::all([of_vendor, rule.condition.clone()]);
                rule.rank = rule.rank.min(RANGED);
                rule.name = format!("{}{}{vendor}", rule.name, if rule.name.is_empty() { "" } else { "-" });
            }
        }
    }

    /// Adds the rules of a host that is no machine.
    fn host(&mut self, index: usize, condition: &Condition) {
        let Some(host) = self.model.hosts.get(index) else { return };
        let mut add = |effect: Effect| {
            self.rules.push(Rule {
                origin: host.origin.clone(),
                condition: condition.clone(),
                ranges: None,
                effect,
                rank: TAGGED,
                name: host.name.clone().unwrap_or_default(),
            });
        };
        if host.is_ignored {
            add(Effect::Ignore);
        }
        if let Some(lease) = host.lease {
            add(Effect::Lease(lease));
        }
        if let Some(name) = host.name.as_deref().filter(|_| !host.macs.is_empty() || host.client_id.is_some())
        {
            add(Effect::Option { code: 12, value: name.into(), is_forced: false });
        }
    }
}
