//! dhcpd's subnets, shared networks and pools.

use std::net::Ipv4Addr;

use super::importer::{Around, Importer};
use super::lexer::Token;
use super::options::dotted;
use super::scope::{Flags, Scope};
use super::tree::Statement;
use crate::import::condition::Condition;
use crate::import::site::{Bootp, Level, Pool, Range, Settings, Subnet};

/// A shared network around subnets.
pub(super) struct Shared<'s> {
    name: String,
    scope: &'s Scope,
}

/// The classes that `allow` and `deny` of a pool name.
#[derive(Default)]
struct Permits {
    allowed: Vec<String>,
    denied: Vec<String>,
    is_for_none: bool,
}

impl Importer {
    /// Reads `shared-network NAME { … }`.
    pub(super) fn shared_network(&mut self, statement: &Statement, around: &Scope, groups: &Around) {
        let name = statement.name(1).unwrap_or_else(|| format!("line-{}", statement.at.line));
        let (scope, others) = self.scope(statement.statements(), around);
        let first = self.site.subnets.len();
        let inside = Around { flags: scope.flags, ..groups.clone() };
        let shared = Shared { name, scope: &scope };
        for other in others.iter().filter(|other| other.keyword() == "subnet") {
            self.subnet(other, &scope, &inside, Some(&shared));
        }
        let mut rest = Vec::new();
        for other in others {
            match other.keyword().as_str() {
                "subnet" => {}
                "pool" => {
                    let pools = self.pool(other, &scope);
                    self.place_pools(pools, first);
                }
                "range" => {
                    let pools = self.range(other).map(|range| plain_pool(other, range, scope.flags));
                    self.place_pools(pools.into_iter().collect(), first);
                }
                _ => rest.push(other),
            }
        }
        let networks: Vec<String> = self.site.subnets.iter().skip(first).map(Subnet::name).collect();
        for conditional in &scope.conditionals {
            self.local.push((networks.clone(), conditional.clone()));
        }
        self.declarations(&rest, &scope, groups);
    }

    /// Puts pools of a shared network into the subnets of their addresses.
    fn place_pools(&mut self, pools: Vec<Pool>, first: usize) {
        for pool in pools {
            for range in &pool.ranges {
                let subnet = self.site.subnets.iter_mut().skip(first).find(|it| it.contains(range.first));
                match subnet {
                    Some(subnet) => {
                        let same =
                            |other: &&mut Pool| other.place == pool.place && other.settings == pool.settings;
                        match subnet.pools.iter_mut().find(same) {
                            Some(other) => other.ranges.push(*range),
                            None => subnet.pools.push(Pool { ranges: vec![*range], ..pool.clone() }),
                        }
                    }
                    None => {
                        let what = format!("the range of {} is in no subnet: not taken", range.first);
                        self.problems.add(pool.place, what);
                    }
                }
            }
        }
    }

    /// Reads `subnet ADDRESS netmask MASK { … }`.
    pub(super) fn subnet(
        &mut self,
        statement: &Statement,
        around: &Scope,
        groups: &Around,
        shared: Option<&Shared<'_>>,
    ) {
        let (network, used) = dotted(statement.after(1));
        let (mask, _) = dotted(statement.after(2 + used));
        let parsed = network.parse::<Ipv4Addr>().ok().zip(mask.parse::<Ipv4Addr>().ok());
        let parsed = parsed.map(|(network, mask)| (u32::from(network), u32::from(mask)));
        // The ones of a mask stand before its zeros.
        let valid = parsed.filter(|(_, mask)| mask.leading_ones() + mask.trailing_zeros() >= 32);
        let Some((network, mask)) = valid else {
            self.problems.add(statement.place(), "the subnet is not taken: expected its address and netmask");
            return;
        };
        let (mut scope, others) = self.scope(statement.statements(), around);
        let mut settings = std::mem::take(&mut scope.settings);
        if let Some(shared) = shared {
            settings.inherit(&shared.scope.settings);
        }
        settings.inherit(&groups.settings);
        if let Some(Some(bytes)) = settings.options.remove(&1)
            && bytes != mask.to_be_bytes()
        {
            self.problems
                .add(statement.place(), "option subnet-mask is not taken: lanboot sends the netmask");
        }
        let mut subnet = Subnet {
            place: statement.place(),
            network: Ipv4Addr::from(network & mask),
            prefix: u8::try_from(mask.leading_ones()).unwrap_or(32),
            shared: shared.map(|shared| shared.name.clone()),
            classes: Vec::new(),
            relays: Vec::new(),
            pools: Vec::new(),
            settings,
            comments: Vec::new(),
        };
        let mut rest = Vec::new();
        for other in others {
            match other.keyword().as_str() {
                "range" => {
                    let range = self.range(other);
                    subnet.pools.extend(range.map(|range| plain_pool(other, range, scope.flags)));
                }
                "pool" => subnet.pools.extend(self.pool(other, &scope)),
                _ => rest.push(other),
            }
        }
        let network = subnet.name();
        self.site.subnets.push(subnet);
        for conditional in scope.conditionals.iter().chain(&groups.conditionals) {
            self.local.push((vec![network.clone()], conditional.clone()));
        }
        let inside = Around { flags: scope.flags, ..Around::default() };
        self.declarations(&rest, &scope, &inside);
    }

    /// Reads `range [dynamic-bootp] FIRST [LAST]`.
    fn range(&mut self, statement: &Statement) -> Option<Range> {
        let mut tokens = statement.after(1);
        if tokens.first().is_some_and(|token| token.is("dynamic-bootp")) {
            tokens = tokens.get(1..).unwrap_or_default();
            if self.site.bootp == Bootp::Reserved {
                self.site.bootp = Bootp::Dynamic;
            }
        }
        let (first, used) = dotted(tokens);
        let (last, _) = dotted(tokens.get(used..).unwrap_or_default());
        let first = first.parse::<Ipv4Addr>().ok();
        let last = if last.is_empty() { first } else { last.parse().ok() };
        match first.zip(last) {
            Some((first, last)) if first <= last => Some(Range { first, last }),
            _ => {
                self.problems.add(statement.place(), "the range is not taken: expected two addresses");
                None
            }
        }
    }

    /// Reads `pool { … }`.
    fn pool(&mut self, statement: &Statement, around: &Scope) -> Vec<Pool> {
        // In a pool these are permits, like all others.
        let mut around = around.clone();
        let serves_unknown = around.flags.serves_unknown.take();
        let (scope, others) = self.scope(statement.statements(), &around);
        let mut ranges = Vec::new();
        let mut permits = Permits::default();
        for other in others {
            match other.keyword().as_str() {
                "range" => ranges.extend(self.range(other)),
                "allow" | "deny" | "ignore" => self.permit(other, &mut permits),
                _ => self.unknown(other),
            }
        }
        for conditional in &scope.conditionals {
            self.problems
                .add(conditional.place, "a condition in a pool is not taken: write it in the subnet");
        }
        match scope.flags.serves_unknown {
            Some(true) => permits.allowed.push("unknown".to_owned()),
            Some(false) => permits.denied.push("unknown".to_owned()),
            None => {}
        }
        if serves_unknown == Some(false) && permits.allowed.is_empty() && permits.denied.is_empty() {
            permits.allowed.push("known".to_owned());
        }
        if permits.is_for_none || ranges.is_empty() {
            if permits.is_for_none {
                self.problems.add(statement.place(), "the pool is left out: no client gets its addresses");
            }
            return Vec::new();
        }
        let classes = self.permitted(permits, statement);
        vec![Pool { place: statement.place(), ranges, classes, settings: scope.settings }]
    }

    /// Reads `allow` and `deny` of a pool.
    fn permit(&mut self, statement: &Statement, permits: &mut Permits) {
        let allows = statement.keyword() == "allow";
        let words: Vec<String> = statement.after(1).iter().filter_map(Token::keyword).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let class = match words.as_slice() {
            ["members", "of", ..] => self.members_of(statement, statement.place()),
            ["known-clients"] | ["known", ..] => Some("known".to_owned()),
            ["unknown-clients"] | ["unknown", ..] => Some("unknown".to_owned()),
            ["all", ..] => {
                permits.is_for_none |= !allows;
                return;
            }
            // Only `range dynamic-bootp` gives such clients addresses at all.
            ["dynamic", "bootp", ..] | ["dynamic-bootp", ..] if !allows => return,
            ["dynamic", "bootp", ..] | ["dynamic-bootp", ..] => Some("bootp".to_owned()),
            _ => None,
        };
        match class {
            Some(class) if allows => permits.allowed.push(class),
            Some(class) => permits.denied.push(class),
            None => self.unknown(statement),
        }
    }

    /// Returns the classes that get addresses of a pool. A class is added for those that are denied.
    fn permitted(&mut self, permits: Permits, statement: &Statement) -> Vec<String> {
        let Permits { mut allowed, mut denied, .. } = permits;
        // A client is known or unknown.
        for (one, other) in [("known", "unknown"), ("unknown", "known")] {
            if denied.iter().any(|class| class == one) && allowed.is_empty() && denied.len() == 1 {
                return vec![other.to_owned()];
            }
        }
        allowed.dedup();
        denied.dedup();
        if denied.is_empty() {
            return allowed;
        }
        let class = |name: &String| Condition::Class(name.clone());
        let inside =
            if allowed.is_empty() { Condition::Always } else { Condition::any(allowed.iter().map(class)) };
        let outside = Condition::any(denied.iter().map(class)).negated();
        let name = match allowed.is_empty() {
            true => format!("not-{}", denied.join("-")),
            false => format!("{}-not-{}", allowed.join("-"), denied.join("-")),
        };
        let condition = Condition::all([inside, outside]);
        let known = self.classes.iter().find(|draft| draft.class.condition.as_ref() == Some(&condition));
        if let Some(draft) = known {
            return vec![draft.class.name.clone()];
        }
        let name = self.unique_class(&name);
        let mut class = self.plain_class(name.clone(), statement.place(), Level::Class);
        class.condition = Some(condition);
        self.push_class(class);
        vec![name]
    }
}

/// Returns the pool of a range that stands in a subnet.
fn plain_pool(statement: &Statement, range: Range, flags: Flags) -> Pool {
    let classes = if flags.serves_unknown == Some(false) { vec!["known".to_owned()] } else { Vec::new() };
    Pool { place: statement.place(), ranges: vec![range], classes, settings: Settings::default() }
}
