//! Formats leases as a table, as details, or as JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use crate::api::leases::LeaseView;
use crate::cli::table::span;
use crate::config::Config;
use crate::lease::Lease;
use crate::types::{Ipv4Network, MacAddr, Timestamp, to_colon_hex};

/// A lease, formatted for people and programs. The field names of its JSON are stable.
#[derive(Serialize)]
pub(super) struct View {
    #[serde(flatten)]
    lease: LeaseView,
    #[serde(skip)]
    ago: u64,
    #[serde(skip)]
    hardware: String,
}

/// The words of `state`.
pub(super) const STATES: [&str; 4] = ["leased", "declined", "released", "expired"];

/// The titles of [`View::details`].
const DETAILS: [&str; 6] = ["address", "state", "name", "hardware", "client id", "expires"];

impl View {
    /// Formats `lease` as of the time `now`.
    pub(super) fn of(lease: &Lease, config: &Config, now: Timestamp) -> View {
        View {
            lease: LeaseView::of(lease, config, now),
            ago: now.since(lease.until).as_secs(),
            hardware: hardware(lease),
        }
    }

    fn details(&self) -> [Cow<'_, str>; 6] {
        let expires = match &self.lease.expires {
            Some(at) => format!("{at} ({})", self.when()).into(),
            None => "never".into(),
        };
        [
            self.lease.address.to_string().into(),
            self.lease.state.into(),
            self.lease.name.as_deref().unwrap_or("-").into(),
            self.hardware.as_str().into(),
            self.lease.client_id.as_str().into(),
            expires,
        ]
    }

    /// Whether the lease has this state and belongs to this network; `None` stands for any.
    pub(super) fn is_in(&self, state: Option<&str>, network: Option<Ipv4Network>) -> bool {
        state.is_none_or(|state| self.lease.state == state)
            && network.is_none_or(|network| network.contains(self.lease.address))
    }

    fn cells(&self) -> [Cow<'_, str>; 5] {
        [
            self.lease.address.to_string().into(),
            self.lease.state.into(),
            self.lease.name.as_deref().unwrap_or("-").into(),
            self.hardware.as_str().into(),
            self.when().into(),
        ]
    }

    /// `in 12m` or `3h 5m ago`.
    fn when(&self) -> String {
        match self.lease.seconds_left {
            None => "never".to_owned(),
            Some(0) => format!("{} ago", span(self.ago)),
            Some(left) => format!("in {}", span(left)),
        }
    }
}

pub(super) fn mac_of(lease: &Lease) -> Option<MacAddr> {
    lease.hardware.mac()
}

/// The hardware address in hexadecimal with colons, of any length.
pub(super) fn hardware(lease: &Lease) -> String {
    let text = to_colon_hex(lease.hardware.as_bytes());
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Writes one line per detail, and an empty line between leases.
pub(super) fn write_details(views: &[View], out: &mut impl Write) -> io::Result<()> {
    for (i, view) in views.iter().enumerate() {
        write!(out, "{}", if i == 0 { "" } else { "\n" })?;
        for (title, cell) in DETAILS.iter().zip(view.details()) {
            writeln!(out, "{title:<10} {cell}")?;
        }
    }
    Ok(())
}

/// Writes a JSON array with one object per line.
pub(super) fn write_json(views: &[View], out: &mut impl Write) -> io::Result<()> {
    for (i, view) in views.iter().enumerate() {
        write!(out, "{}", if i == 0 { "[\n" } else { ",\n" })?;
        serde_json::to_writer(&mut *out, view)?;
    }
    writeln!(out, "{}", if views.is_empty() { "[]" } else { "\n]" })
}

/// Writes titles and rows within 80 columns. Each column is as wide as its widest cell; a long name shifts its own line.
/// Ended leases are dim, declined ones red. `lanboot leases show` and JSON have the client identifier too.
pub(super) fn write_table(views: &[View], colour: bool, out: &mut impl Write) -> io::Result<()> {
    const DIM: &str = "\x1b[2m";
    const RED: &str = "\x1b[31m";
    const PLAIN: &str = "\x1b[0m";
    const USUAL: usize = 20;
    let titles = ["ADDRESS", "STATE", "NAME", "HARDWARE", "EXPIRES"].map(Cow::from);
    let mut widths = titles.each_ref().map(|title| title.len());
    for view in views {
        for (width, cell) in widths.iter_mut().zip(view.cells()) {
            *width = cell.chars().count().clamp(*width, USUAL.max(*width));
        }
    }
    let line = |cells: [Cow<'_, str>; 5]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    writeln!(out, "{}", line(titles))?;
    for view in views {
        let line = line(view.cells());
        match view.lease.state {
            "declined" if colour => writeln!(out, "{RED}{line}{PLAIN}")?,
            "expired" | "released" if colour => writeln!(out, "{DIM}{line}{PLAIN}")?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

/// The number of leases, in all and in each state.
pub(super) fn summary(views: &[View]) -> String {
    let s = if views.len() == 1 { "" } else { "s" };
    let in_state = |state: &&str| views.iter().filter(|view| view.lease.state == *state).count();
    let counts = STATES.iter().map(|state| (in_state(state), state)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, state)| format!("{count} {state}")).collect();
    format!("{} lease{s}: {}", views.len(), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::lease::Holder;
    use crate::lease::State;
    use crate::types::ClientId;

    const NOW: u64 = 1_700_000_000;

    fn lease(n: u8, state: State, until: u64) -> Lease {
        let mac = MacAddr([2, 0, 0, 0, 0, n]);
        Lease {
            address: Ipv4Addr::new(192, 168, 77, n),
            holder: Holder { client: ClientId::of_mac(mac), mac: Some(mac), is_boot_stage: false },
            hardware: mac.into(),
            state,
            until: Timestamp::from_seconds(until),
        }
    }

    fn config() -> Config {
        crate::config::load(
            "interfaces: [eth0]\ndhcp: {mode: server, subnets: [{network: 192.168.77.0/24}]}\n\
             machines: [{name: node1, mac: 02:00:00:00:00:09}]\n",
        )
        .unwrap()
    }

    fn table(leases: &[Lease], colour: bool) -> String {
        let config = config();
        let now = Timestamp::from_seconds(NOW);
        let views: Vec<View> = leases.iter().map(|lease| View::of(lease, &config, now)).collect();
        let mut text = Vec::new();
        write_table(&views, colour, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_table_aligns_and_says_when_leases_end() {
        let leases = [
            lease(9, State::Leased, NOW + 725),
            lease(50, State::Leased, NOW - 3600),
            lease(51, State::Released, NOW),
            lease(152, State::Declined, NOW + 90_000),
            lease(153, State::Leased, u64::MAX / 1000),
        ];
        assert_eq!(
            table(&leases, false),
            "\
ADDRESS         STATE     NAME   HARDWARE           EXPIRES
192.168.77.9    leased    node1  02:00:00:00:00:09  in 12m 5s
192.168.77.50   expired   -      02:00:00:00:00:32  1h ago
192.168.77.51   released  -      02:00:00:00:00:33  0s ago
192.168.77.152  declined  -      02:00:00:00:00:98  in 1d 1h
192.168.77.153  leased    -      02:00:00:00:00:99  never
"
        );
        let colours = table(&leases, true);
        assert_eq!(colours.matches("\x1b[2m").count(), 2);
        assert_eq!(colours.matches("\x1b[31m").count(), 1);
    }

    #[test]
    fn r_46_the_table_fits_80_columns() {
        let long = "a-name-of-a-machine-that-is-longer-than-most";
        let (config, now) = (config(), Timestamp::from_seconds(NOW));
        let declined = lease(150, State::Declined, NOW + 90_000);
        let view = |name: &str| {
            let mut view = View::of(&declined, &config, now);
            view.lease.name = Some(name.to_owned());
            view
        };
        let views = [view("node-of-twenty-chars"), view(long)];
        let mut out = Vec::new();
        write_table(&views, false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert!(widths[..2].iter().all(|width| *width <= 80) && widths[2] > 80, "{text}");
        assert_eq!(summary(&views), "2 leases: 2 declined");
    }
}
