//! Requests and connections of the API that are refused because of the client, counted by reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The reason of a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A connection from outside of `web.allow`.
    NotAllowed,
    /// The client, or all clients together, have too many connections.
    TooManyConnections,
    /// The user of the control socket is not in the group.
    OtherUser,
    /// A field that decides whether the request is admitted is there twice.
    DuplicateField,
    /// `Host` is not a name of this server.
    ForeignHost,
    /// `Origin` is another one than that of the request.
    ForeignOrigin,
    /// The request needs the token and has none.
    NoToken,
    WrongToken,
    /// Too many wrong tokens from this client.
    TooManyAttempts,
    /// There is no token to compare with.
    TokenUnreadable,
    BodyTooLarge,
    /// The body did not arrive in time, or not as HTTP.
    BodyUnreadable,
    /// The client, or all clients together, have too many event streams.
    TooManyStreams,
}

impl Reason {
    /// Every reason. The place is that of its counter.
    const ALL: [Reason; 13] = [
        Reason::NotAllowed,
        Reason::TooManyConnections,
        Reason::OtherUser,
        Reason::DuplicateField,
        Reason::ForeignHost,
        Reason::ForeignOrigin,
        Reason::NoToken,
        Reason::WrongToken,
        Reason::TooManyAttempts,
        Reason::TokenUnreadable,
        Reason::BodyTooLarge,
        Reason::BodyUnreadable,
        Reason::TooManyStreams,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotAllowed => "not_allowed",
            Reason::TooManyConnections => "too_many_connections",
            Reason::OtherUser => "other_user",
            Reason::DuplicateField => "duplicate_field",
            Reason::ForeignHost => "foreign_host",
            Reason::ForeignOrigin => "foreign_origin",
            Reason::NoToken => "no_token",
            Reason::WrongToken => "wrong_token",
            Reason::TooManyAttempts => "too_many_attempts",
            Reason::TokenUnreadable => "token_unreadable",
            Reason::BodyTooLarge => "body_too_large",
            Reason::BodyUnreadable => "body_unreadable",
            Reason::TooManyStreams => "too_many_streams",
        }
    }
}

/// The counters of all reasons. Cheap to clone; clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<[AtomicU64; Reason::ALL.len()]>);

impl Refusals {
    pub fn count(&self, reason: Reason) {
        let place = Reason::ALL.iter().position(|other| *other == reason);
        if let Some(counter) = place.and_then(|place| self.0.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The reasons that occurred, with their numbers.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = Reason::ALL.iter().zip(self.0.iter());
        let counts = counts.map(|(reason, count)| (reason.name(), count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let refusals = Refusals::default();
        for (times, reason) in Reason::ALL.iter().enumerate() {
            (0..=times).for_each(|_| refusals.count(*reason));
        }
        let counts: Vec<u64> = refusals.counts().iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, (1..=13).collect::<Vec<u64>>());
    }
}
