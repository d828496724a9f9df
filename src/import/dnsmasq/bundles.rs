//! Collects suboptions: `vendor:` into option 43, `encap:` into the option that they name, and `vi-encap:` into option
//! 125. dnsmasq sends all suboptions whose tags fit, in one option (`do_encap_opts` in `rfc2131.c`).

use std::collections::BTreeSet;

use super::model::OptionRule;
use super::option::Wrap;
use super::values::Tag;

/// The option that vendor classes have for themselves.
const VENDOR_SPECIFIC: u32 = 43;
const VENDOR_IDENTIFYING: u32 = 125;
/// The end of the suboptions.
const END: u8 = 255;

/// The suboptions for clients with certain tags.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// Index of the last rule that adds a suboption for exactly these tags.
    pub last: usize,
    pub code: u32,
    /// The text that option 60 must contain.
    pub vendor: Option<String>,
    pub tags: Vec<Tag>,
    pub bytes: Vec<u8>,
    pub is_forced: bool,
}

/// The option of which these are suboptions, and the vendor.
fn outer(wrap: &Wrap) -> Option<(u32, Option<&str>)> {
    match wrap {
        Wrap::None => None,
        Wrap::Vendor(vendor) => Some((VENDOR_SPECIFIC, Some(vendor))),
        Wrap::Inside(code) => Some((*code, None)),
        Wrap::Enterprise(_) => Some((VENDOR_IDENTIFYING, None)),
    }
}

/// The suboptions of `rules`, for each list of tags that has some.
pub(super) fn bundles(rules: &[OptionRule]) -> Vec<Bundle> {
    type Key<'k> = (u32, Option<&'k str>, BTreeSet<&'k Tag>);
    let mut keys: Vec<(Key<'_>, usize)> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let Some((code, vendor)) = outer(&rule.option.wrap) else { continue };
        let key: Key<'_> = (code, vendor, rule.option.tags.iter().collect());
        match keys.iter_mut().find(|(other, _)| *other == key) {
            Some((_, last)) => *last = index,
            None => keys.push((key, index)),
        }
    }
    let mut found = Vec::new();
    for ((code, vendor, tags), last) in keys {
        // Rules whose tags these clients have too. dnsmasq goes through the rules from the last to the first.
        let fitting: Vec<&OptionRule> = rules
            .iter()
            .rev()
            .filter(|rule| outer(&rule.option.wrap) == Some((code, vendor)))
            .filter(|rule| rule.option.tags.iter().all(|tag| tags.contains(tag)))
            .collect();
        found.push(Bundle {
            last,
            code,
            vendor: vendor.map(str::to_owned),
            tags: tags.into_iter().cloned().collect(),
            bytes: if code == VENDOR_IDENTIFYING { by_enterprise(&fitting) } else { suboptions(&fitting) },
            is_forced: fitting.iter().any(|rule| rule.is_forced),
        });
    }
    found
}

fn suboptions(rules: &[&OptionRule]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for rule in rules {
        push(&mut bytes, rule);
    }
    bytes.push(END);
    bytes
}

fn push(bytes: &mut Vec<u8>, rule: &OptionRule) {
    let value = rule.option.value.bytes();
    bytes.extend(u8::try_from(rule.option.code));
    bytes.extend(u8::try_from(value.len()));
    bytes.extend(value);
}

/// The data of option 125 (RFC 3925): each enterprise, the length of its suboptions, and these.
fn by_enterprise(rules: &[&OptionRule]) -> Vec<u8> {
    let mut enterprises: Vec<u32> = Vec::new();
    for rule in rules {
        if let Wrap::Enterprise(enterprise) = rule.option.wrap
            && !enterprises.contains(&enterprise)
        {
            enterprises.push(enterprise);
        }
    }
    let mut bytes = Vec::new();
    for enterprise in enterprises {
        let mut data = Vec::new();
        for rule in rules.iter().filter(|rule| rule.option.wrap == Wrap::Enterprise(enterprise)) {
            push(&mut data, rule);
        }
        // A longer one is never sent.
        if let Ok(len) = u8::try_from(data.len()) {
            bytes.extend(enterprise.to_be_bytes());
            bytes.push(len);
            bytes.extend(data);
        }
    }
    bytes
}
