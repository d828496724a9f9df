//! T1 and T2. Kea and dhcpd take any times, and Kea leaves out those that do not fit the lease of a client. `config.yaml`
//! has to fit for leases of the default time: T1 before T2, and T2 before the end (RFC 2131 section 4.4.5).

use super::model::{INFINITE, Settings, Site, Timer};
use super::settings;
use crate::import::problems::Problems;

impl Timer {
    /// Returns the seconds of a lease of `lease` seconds.
    fn of(self, lease: u32) -> u64 {
        match self {
            Timer::Seconds(seconds) => u64::from(seconds),
            Timer::Share(share) => u64::from(lease) * u64::from(share) / 1000,
        }
    }
}

impl Site {
    /// Leaves out the times that do not fit the lease time of their subnet.
    pub(super) fn check_times(&mut self, problems: &mut Problems) {
        let global = self.settings.clone();
        let fits = |subnet: &Settings| misfits(&with_global(subnet, &global)) == (false, false);
        if !self.subnets.iter().all(|subnet| fits(&subnet.settings)) {
            // Times that do not fit one subnet may fit the others.
            (self.settings.renew, self.settings.rebind) = (None, None);
            for subnet in &mut self.subnets {
                let whole = with_global(&subnet.settings, &global);
                (subnet.settings.renew, subnet.settings.rebind) = (whole.renew, whole.rebind);
            }
        }
        for subnet in &mut self.subnets {
            let whole = with_global(&subnet.settings, &global);
            let (renew, rebind) = misfits(&whole);
            let lease = settings::seconds(default_lease(&whole).unwrap_or_default());
            if rebind {
                subnet.settings.rebind = None;
                let why = format!("T2 is not taken: it is not before the end of the lease ({lease})");
                problems.add(subnet.place, format!("subnet {}: {why}", subnet.name()));
            }
            if renew {
                subnet.settings.renew = None;
                let why = format!("T1 is not taken: it is not before T2 of the lease ({lease})");
                problems.add(subnet.place, format!("subnet {}: {why}", subnet.name()));
            }
        }
    }
}

/// Returns the times of a subnet, with the global ones where it has none.
fn with_global(subnet: &Settings, global: &Settings) -> Settings {
    Settings {
        renew: subnet.renew.or(global.renew),
        rebind: subnet.rebind.or(global.rebind),
        lease: settings::merged(subnet.lease, global.lease),
        ..Settings::default()
    }
}

fn default_lease(settings: &Settings) -> Option<u32> {
    settings::default_lease(settings.lease).filter(|lease| *lease != INFINITE)
}

/// Whether T1 and whether T2 do not fit the lease.
fn misfits(settings: &Settings) -> (bool, bool) {
    let Some(lease) = default_lease(settings) else { return (false, false) };
    let rebind = settings.rebind.map(|timer| timer.of(lease));
    let misfit = rebind.is_some_and(|t2| t2 >= u64::from(lease));
    // Without T2, clients and lanboot take seven eighths.
    let end = rebind.filter(|_| !misfit).unwrap_or(u64::from(lease - lease / 8));
    (settings.renew.is_some_and(|timer| timer.of(lease) >= end), misfit)
}

#[cfg(test)]
mod tests {
    use super::super::model::Lease;
    use super::*;

    fn times(renew: u32, rebind: u32, lease: u32) -> (bool, bool) {
        misfits(&Settings {
            renew: Some(Timer::Seconds(renew)),
            rebind: Some(Timer::Seconds(rebind)),
            lease: Lease { default: Some(lease), ..Lease::default() },
            ..Settings::default()
        })
    }

    #[test]
    fn times_must_come_in_order() {
        assert_eq!(times(900, 1799, 1800), (false, false));
        assert_eq!(times(900, 1800, 1800), (false, true));
        assert_eq!(times(1600, 1800, 1800), (true, true));
        assert_eq!(times(1000, 1000, 1800), (true, false));
        assert_eq!(times(900, 1800, INFINITE), (false, false));
        let share = Settings { rebind: Some(Timer::Share(1000)), ..Settings::default() };
        assert_eq!(misfits(&share), (false, false));
    }
}
