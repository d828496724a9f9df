//! Values as bytes: numbers as LEB128, texts once per row and then by their number. Reading checks every length, because
//! a file can be damaged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{
    CaptureDrop, DropReason, HttpRefusal, HttpStop, Message, Refusal, ServerFact, SyslogDrop, Unanswered,
    UploadStop,
};
use crate::journey::boot::{BootResult, BootStage};
use crate::journey::verdict::VerdictId;
use crate::types::{Arch, ClientId, InterfaceName, Ipv4Network, MacAddr, Severity, Timestamp, Uuid};

/// Maximum number of different texts of one row that are stored once.
const MAX_TEXTS: usize = 64;

/// Words of events other than the names of stages and verdicts: the reasons of a NAK, and the sets of `lanboot images
/// add`.
const WORDS: &[&str] = &[
    "this client has another address, and was not offered that one",
    "that address was not offered to this client, or its offer ran out",
    "that address is not of this network",
    "this client has another address, or its lease ran out",
    "that address is another machine's",
    "this server did not give that address to this client",
    "the pool of that address is not for clients of this class",
    "ipxe",
    "pxelinux",
    "grub",
    "shim",
];

/// Writes values.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
    texts: Vec<Arc<str>>,
}

/// Reads values.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    texts: Vec<Arc<str>>,
}

/// The bytes are not what this version writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable;

/// A value that can be written and read.
pub trait Field: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable>;
}

impl Writer {
    pub fn text(&mut self, text: &str) {
        // A row has few texts, so a search is cheaper than a map.
        if let Some(place) = self.texts.iter().position(|known| **known == *text) {
            return place.saturating_add(1).write(self);
        }
        0_usize.write(self);
        text.len().write(self);
        self.bytes.extend_from_slice(text.as_bytes());
        if self.texts.len() < MAX_TEXTS {
            self.texts.push(text.into());
        }
    }
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, texts: Vec::new() }
    }

    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Unreadable)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    pub fn text(&mut self) -> Result<Arc<str>, Unreadable> {
        let number = usize::read(self)?;
        if let Some(place) = number.checked_sub(1) {
            return self.texts.get(place).cloned().ok_or(Unreadable);
        }
        let len = usize::read(self)?;
        let text: Arc<str> = std::str::from_utf8(self.take(len)?).map_err(|_| Unreadable)?.into();
        if self.texts.len() < MAX_TEXTS {
            self.texts.push(Arc::clone(&text));
        }
        Ok(text)
    }
}

impl Field for u64 {
    fn write(&self, to: &mut Writer) {
        let mut rest = *self;
        while rest >= 0x80 {
            to.bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        to.bytes.push(rest as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<u64, Unreadable> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = from.array()?;
            let bits = u64::from(byte & 0x7f);
            let placed =
                bits.checked_shl(shift).filter(|placed| placed >> shift == bits).ok_or(Unreadable)?;
            value |= placed;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unreadable)
    }
}

macro_rules! numbers {
    ($($type:ty: $to:expr;)*) => {$(
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                $to(*self).write(to);
            }

            fn read(from: &mut Reader<'_>) -> Result<$type, Unreadable> {
                u64::read(from)?.try_into().map_err(|_| Unreadable)
            }
        }
    )*};
}
numbers! {
    u8: u64::from;
    u16: u64::from;
    u32: u64::from;
    usize: |number| u64::try_from(number).unwrap_or(u64::MAX);
}

/// Enums with stable names are stored by name, so that a new variant changes no number.
macro_rules! named {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                to.text(self.name());
            }

            fn read(from: &mut Reader<'_>) -> Result<$type, Unreadable> {
                let name = from.text()?;
                <$type>::ALL.iter().copied().find(|one| one.name() == &*name).ok_or(Unreadable)
            }
        }
    )*};
}
named!(
    BootResult,
    BootStage,
    CaptureDrop,
    DropReason,
    HttpRefusal,
    HttpStop,
    Message,
    Refusal,
    ServerFact,
    SyslogDrop,
    Unanswered,
    UploadStop,
    VerdictId
);

/// Values that are stored as another type.
macro_rules! stored_as {
    ($($type:ty as $other:ty: $to:expr, $from:expr;)*) => {$(
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                let to_other: fn(&$type) -> $other = $to;
                to_other(self).write(to);
            }

            fn read(from: &mut Reader<'_>) -> Result<$type, Unreadable> {
                let from_other: fn($other) -> Option<$type> = $from;
                from_other(<$other>::read(from)?).ok_or(Unreadable)
            }
        }
    )*};
}
stored_as! {
    bool as u8: |value| u8::from(*value), |byte| (byte < 2).then_some(byte == 1);
    Timestamp as u64: |at| at.0, |millis| Some(Timestamp(millis));
    Duration as u64: |took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX), |millis| Some(Duration::from_millis(millis));
    Arch as u16: |arch| arch.number(), |number| Some(Arch::from_number(number));
    Severity as u8: |severity| severity.number(), |number| Some(Severity::of_priority(number));
    Ipv4Network as (Ipv4Addr, u8): |network| (network.address(), network.prefix()), |(address, prefix)| Ipv4Network::new(address, prefix);
    ClientId as Vec<u8>: |id| id.as_bytes().to_vec(), |bytes| ClientId::from_stored(&bytes);
    SocketAddr as (IpAddr, u16): |peer| (peer.ip(), peer.port()), |(address, port)| Some(SocketAddr::new(address, port));
}

macro_rules! arrays {
    ($($type:ty: $to:expr, $from:expr;)*) => {$(
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                to.bytes.extend_from_slice(&$to(self));
            }

            fn read(from: &mut Reader<'_>) -> Result<$type, Unreadable> {
                Ok($from(from.array()?))
            }
        }
    )*};
}
arrays! {
    MacAddr: |mac: &MacAddr| mac.0, MacAddr;
    Uuid: |uuid: &Uuid| uuid.to_network(), Uuid::from_network;
    Ipv4Addr: Ipv4Addr::octets, |octets: [u8; 4]| Ipv4Addr::from(octets);
    Ipv6Addr: Ipv6Addr::octets, |octets: [u8; 16]| Ipv6Addr::from(octets);
}

impl Field for IpAddr {
    fn write(&self, to: &mut Writer) {
        match self {
            IpAddr::V4(address) => (4_u8, *address).write(to),
            IpAddr::V6(address) => (6_u8, *address).write(to),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<IpAddr, Unreadable> {
        match u8::read(from)? {
            4 => Ok(IpAddr::V4(Ipv4Addr::read(from)?)),
            6 => Ok(IpAddr::V6(Ipv6Addr::read(from)?)),
            _ => Err(Unreadable),
        }
    }
}

impl Field for Arc<str> {
    fn write(&self, to: &mut Writer) {
        to.text(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Arc<str>, Unreadable> {
        from.text()
    }
}

impl Field for InterfaceName {
    fn write(&self, to: &mut Writer) {
        to.text(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<InterfaceName, Unreadable> {
        from.text().map(|name| InterfaceName::from(&*name))
    }
}

impl Field for String {
    fn write(&self, to: &mut Writer) {
        to.text(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<String, Unreadable> {
        from.text().map(|text| text.as_ref().to_owned())
    }
}

impl<T: Field> Field for Option<T> {
    fn write(&self, to: &mut Writer) {
        self.is_some().write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<Option<T>, Unreadable> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl<T: Field> Field for Box<T> {
    fn write(&self, to: &mut Writer) {
        T::write(self, to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Box<T>, Unreadable> {
        T::read(from).map(Box::new)
    }
}

impl<T: Field> Field for Vec<T> {
    fn write(&self, to: &mut Writer) {
        self.len().write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<Vec<T>, Unreadable> {
        let len = usize::read(from)?;
        // Every value has a byte at least, so a damaged length cannot ask for more memory than the row has.
        if len > from.bytes.len() {
            return Err(Unreadable);
        }
        (0..len).map(|_| T::read(from)).collect()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn write(&self, to: &mut Writer) {
        self.0.write(to);
        self.1.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<(A, B), Unreadable> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

/// Words of the program in events: an unknown one is of another version.
impl Field for &'static str {
    fn write(&self, to: &mut Writer) {
        to.text(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<&'static str, Unreadable> {
        let text = from.text()?;
        let stages = BootStage::ALL.iter().map(|stage| stage.name());
        let verdicts = VerdictId::ALL.iter().map(|id| id.name());
        let word = stages.chain(verdicts).chain(WORDS.iter().copied()).find(|word| *word == &*text);
        Ok(word.unwrap_or("another reason"))
    }
}
