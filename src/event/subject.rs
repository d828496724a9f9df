//! The subject of an event: the DHCP client, the peer of a file request, and the address.

use std::net::{IpAddr, SocketAddr};

use super::{Client, Event};

impl Event {
    /// Returns the DHCP client that the event is about, if there is one.
    pub fn client(&self) -> Option<&Client> {
        match self {
            Event::Received { client, .. }
            | Event::Answered { client, .. }
            | Event::BootLoop { client, .. }
            | Event::NoFileForArchitecture { client }
            | Event::FileMissing { client, .. }
            | Event::Released { client, .. }
            | Event::Declined { client, .. }
            | Event::NotKept { client, .. }
            | Event::PoolExhausted { client, .. }
            | Event::QuestionBlocked { client, .. } => Some(client),
            Event::Dropped { client, .. } => client.as_ref(),
            Event::Conflict { .. }
            | Event::Server { .. }
            | Event::TextFailed { .. }
            | Event::OnceEnded { .. }
            | Event::ProxyArp { .. }
            | Event::DuplicateClientId { .. }
            | Event::AmbiguousAddress { .. }
            | Event::RogueServer { .. }
            | Event::Heard { .. }
            | Event::Booted { .. }
            | Event::Stuck { .. }
            | Event::GoesOn { .. }
            | Event::TftpStarted { .. }
            | Event::TftpAcknowledged { .. }
            | Event::HttpStarted { .. }
            | Event::TftpSent { .. }
            | Event::TftpSizeProbe { .. }
            | Event::TftpStopped { .. }
            | Event::TftpReceived { .. }
            | Event::TftpUploadStopped { .. }
            | Event::TftpUnanswered { .. }
            | Event::TftpRefused { .. }
            | Event::HttpSent { .. }
            | Event::HttpAnswered { .. }
            | Event::HttpStopped { .. }
            | Event::Facts { .. }
            | Event::HttpRefused { .. }
            | Event::Syslog { .. }
            | Event::SyslogDropped { .. }
            | Event::ReplyTooLarge { .. }
            | Event::AsksByIpv6
            | Event::CaptureDropped { .. } => None,
        }
    }

    /// Returns the client of a file request, if the event is about one.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Event::TftpStarted { peer, .. }
            | Event::TftpAcknowledged { peer, .. }
            | Event::HttpStarted { peer, .. }
            | Event::TftpSent { peer, .. }
            | Event::TftpSizeProbe { peer, .. }
            | Event::TftpStopped { peer, .. }
            | Event::TftpReceived { peer, .. }
            | Event::TftpUploadStopped { peer, .. }
            | Event::TftpUnanswered { peer, .. }
            | Event::TftpRefused { peer, .. }
            | Event::HttpSent { peer, .. }
            | Event::HttpAnswered { peer, .. }
            | Event::HttpStopped { peer, .. }
            | Event::Facts { peer, .. }
            | Event::HttpRefused { peer, .. }
            | Event::Syslog { peer, .. }
            | Event::SyslogDropped { peer, .. } => Some(*peer),
            _ => None,
        }
    }

    /// Returns the address that the event is about: that of the client, or the one in doubt.
    pub fn address(&self) -> Option<IpAddr> {
        let address = match self {
            Event::Answered { address, .. }
            | Event::Released { address, .. }
            | Event::Declined { address, .. }
            | Event::Conflict { address, .. }
            | Event::RogueServer { address, .. }
            | Event::Heard { address, .. } => IpAddr::V4(*address),
            Event::AmbiguousAddress { address, .. } => *address,
            event => event.peer()?.ip(),
        };
        (!address.is_unspecified()).then_some(address)
    }
}
