//! Looks whether the served interfaces are as they were at the start. Replies name the addresses of the start and files are
//! served at those, so a change is told, with what to do.

use std::time::Duration;

use crate::server::address::listed;
use crate::server::interface::{self, Interface};

/// How often they are looked at.
const PAUSE: Duration = Duration::from_secs(5);

/// Tells of each change, until it is dropped.
pub async fn watch(served: Vec<Interface>) {
    let mut told: Vec<Option<String>> = vec![None; served.len()];
    loop {
        tokio::time::sleep(PAUSE).await;
        let Ok(present) = interface::list() else { continue };
        for (then, told) in served.iter().zip(&mut told) {
            let now = present.iter().find(|interface| interface.index == then.index);
            let news = difference(then, now);
            match &news {
                _ if news == *told => {}
                Some(change) => tracing::warn!("{change}"),
                None => tracing::info!("interface {} is as it was at the start again", then.name),
            }
            *told = news;
        }
    }
}

/// What is different from the start.
fn difference(then: &Interface, now: Option<&Interface>) -> Option<String> {
    let name = &then.name;
    let Some(now) = now else {
        return Some(format!("interface {name} is gone: when it is back, restart lanboot"));
    };
    if !now.up {
        return Some(format!("interface {name} is down: nobody there is served until it is up"));
    }
    (now.addresses != then.addresses).then(|| {
        let (had, has) = (listed(then.addresses.as_ref()), listed(now.addresses.as_ref()));
        let has = if has.is_empty() { "no address" } else { &has };
        format!(
            "interface {name} had {had} at the start and has {has} now: restart lanboot to serve with that"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn f_07_what_changes_is_told_with_what_to_do() {
        let lo = interface::list().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        assert_eq!(difference(&lo, Some(&lo)), None);
        assert!(difference(&lo, None).unwrap().contains("interface lo is gone"));
        let down = Interface { up: false, ..lo.clone() };
        assert!(difference(&lo, Some(&down)).unwrap().contains("lo is down"));
        let then = Interface { addresses: [Ipv4Addr::LOCALHOST].into(), ..lo.clone() };
        let moved = Interface { addresses: [Ipv4Addr::new(10, 0, 0, 1)].into(), ..lo.clone() };
        let told = difference(&then, Some(&moved)).unwrap();
        assert!(told.contains("had 127.0.0.1 at the start and has 10.0.0.1 now: restart lanboot"), "{told}");
        let bare = Interface { addresses: [].into(), ..lo };
        assert!(difference(&then, Some(&bare)).unwrap().contains("has no address now"));
    }
}
