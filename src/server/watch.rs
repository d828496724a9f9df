//! Keeps what is served what it should be: interfaces go down and come up, get other addresses, are made and deleted,
//! and nothing is to be restarted for that. The kernel tells of changes over netlink; that they were heard is not
//! relied on.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::net::interface::Interface;
use crate::net::readable::readable;
use crate::net::served::{Served, find, listed};
use crate::server::drain::Serving;
use crate::types::Ipv4Network;

/// How often the interfaces are looked at without any news, and what could not be done is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// How long more news is waited for: an interface that comes up gets its address a moment later.
const SETTLE: Duration = Duration::from_millis(100);
/// News that are passed over at once.
const NEWS: usize = 1024;

/// Looks at the interfaces and tells everybody what is served.
#[derive(Debug)]
pub struct Watch {
    config: Config,
    now: watch::Sender<Arc<Served>>,
    /// What is known to be wrong.
    told: BTreeSet<String>,
}

impl Watch {
    /// Tells by `now`. What is wrong at the start has been `told`.
    pub fn new(config: &Config, now: watch::Sender<Arc<Served>>, told: Vec<String>) -> Watch {
        Watch { config: config.clone(), now, told: told.into_iter().collect() }
    }

    /// Follows the changes, for ever.
    pub async fn follow(mut self, serving: &mut Serving) -> Infallible {
        // Without netlink a change is noticed when the next look is due.
        let news = netlink().ok();
        loop {
            wait(news.as_ref()).await;
            match find(&self.config) {
                Ok((served, absent)) => self.take(served, absent, serving),
                Err(error) => self.tell([error.to_string()].into()),
            }
        }
    }

    /// Serves on what is there now.
    fn take(&mut self, served: Served, absent: Vec<String>, serving: &mut Serving) {
        let before = Arc::clone(&self.now.borrow());
        if *before != served {
            differences(&before, &served).iter().for_each(|change| tracing::info!("{change}"));
            self.now.send_replace(Arc::new(served.clone()));
        }
        let refused = serving.follow(&served);
        let mut wrong: BTreeSet<String> = absent.into_iter().collect();
        wrong.extend(refused.iter().map(ToString::to_string));
        if let Some(settings) = &self.config.dhcp {
            wrong.extend(served.out_of_reach(settings).iter().map(|network| out_of_reach(*network)));
        }
        self.tell(wrong);
    }

    /// Tells of what is wrong and was not before.
    fn tell(&mut self, wrong: BTreeSet<String>) {
        wrong.difference(&self.told).for_each(|warning| tracing::warn!("{warning}"));
        self.told = wrong;
    }
}

/// Waits for news, or for the next look.
async fn wait(news: Option<&AsyncFd<OwnedFd>>) {
    let Some(news) = news else { return sleep(PAUSE).await };
    if timeout(PAUSE, news.readable()).await.is_err() {
        return;
    }
    sleep(SETTLE).await;
    // What it says does not matter, so it does not matter either if some of it was lost (ENOBUFS).
    if let Ok(mut ready) = news.readable().await {
        for _ in 0..NEWS {
            if recv(news.as_raw_fd(), &mut [0; 4096], MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN) {
                return ready.clear_ready();
            }
        }
    }
}

/// What is to be said of a subnet that no served interface has an address in.
pub fn out_of_reach(network: Ipv4Network) -> String {
    format!("subnet {network}: no served interface has an address in it, so only relay agents reach it")
}

/// A socket that the kernel writes to when an interface or an IPv4 address changes.
fn netlink() -> io::Result<AsyncFd<OwnedFd>> {
    /// Groups of messages by their bits, from linux/rtnetlink.h.
    const RTMGRP_LINK: u32 = 1;
    const RTMGRP_IPV4_IFADDR: u32 = 0x10;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR))?;
    readable(socket)
}

/// What is served otherwise than before, a line each.
fn differences(before: &Served, after: &Served) -> Vec<String> {
    let addresses = |interface: &Interface| listed(interface.addresses.iter());
    let gone = before.interfaces().filter(|then| after.get(then.index).is_none());
    let mut lines: Vec<String> =
        gone.map(|then| format!("interface {} is not served any more", then.name)).collect();
    for now in after.interfaces() {
        let (name, has) = (&now.name, addresses(now));
        let Some(then) = before.get(now.index) else {
            lines.push(format!("interface {name} {has} is served from now on"));
            continue;
        };
        if then.name != now.name {
            lines.push(format!("interface {} is called {name} now", then.name));
        }
        if then.addresses != now.addresses {
            lines.push(format!("interface {name} had {} and is served with {has} now", addresses(then)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interface;
    use std::net::Ipv4Addr;

    #[test]
    fn f_07_what_is_served_otherwise_is_told() {
        let lo = interface::list().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        let with = |name: &str, last: &[u8]| Interface {
            name: name.into(),
            addresses: last.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last)).collect(),
            ..lo.clone()
        };
        let told = |before: &[Interface], after: &[Interface]| {
            differences(&Served::new(before.to_vec(), []), &Served::new(after.to_vec(), []))
        };
        let one = [with("eth1", &[1])];
        assert!(told(&one, &one).is_empty());
        assert_eq!(told(&one, &[]), ["interface eth1 is not served any more"]);
        assert_eq!(told(&[], &one), ["interface eth1 10.0.0.1 is served from now on"]);
        assert_eq!(
            told(&one, &[with("lan0", &[2, 3])]),
            [
                "interface eth1 is called lan0 now",
                "interface lan0 had 10.0.0.1 and is served with 10.0.0.2, 10.0.0.3 now"
            ]
        );
    }
}
