//! What is granted to a read request: the options of RFC 2347 to 2349 and 7440, within our limits.

use std::time::Duration;

use super::Limits;
use crate::wire::tftp::Options;

/// What a transfer goes by, and the answer that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// Bytes of data in a block: 8 to 65464, or RFC 1350's 512.
    pub block_size: u16,
    /// Blocks sent before an acknowledgement is awaited; RFC 1350's 1, or more by RFC 7440.
    pub window: u16,
    /// How long to wait before sending again, if the client said so (RFC 2349).
    pub timeout: Option<Duration>,
    /// The options granted, which the client is told first; `None` when it asked for none that we grant, and gets the
    /// first block at once.
    pub oack: Option<Options>,
    /// The client wants to know the size: then it may be after nothing else.
    pub asked_size: bool,
}

/// Grants what `asked` says. `size` are the bytes of the file, `None` if they are not known before it is sent
/// (netascii); `mtu` is the largest datagram on the path to the client, in bytes.
///
/// An option that is not granted is left out of the answer (RFC 2347); what is granted is never more than asked for.
pub fn negotiate(asked: &Options, size: Option<u64>, limits: &Limits, mtu: u32) -> Granted {
    let block_size = asked.block_size.map(|wanted| wanted.min(limits.block_size_for(mtu)));
    let in_blocks = block_size.unwrap_or(Granted::BLOCK_SIZE);
    let window_size = asked.window_size.map(|wanted| wanted.min(limits.window_for(in_blocks)));
    // curl takes a size of 0 in an OACK for an error.
    let transfer_size = asked.transfer_size.and(size).filter(|size| *size > 0);
    let options = Options { block_size, timeout: asked.timeout, transfer_size, window_size };
    Granted {
        block_size: in_blocks,
        window: window_size.unwrap_or(1),
        timeout: asked.timeout.map(|seconds| Duration::from_secs(seconds.into())),
        oack: (options != Options::default()).then_some(options),
        asked_size: asked.transfer_size.is_some(),
    }
}

impl Granted {
    /// The block size where none was asked for (RFC 1350), in bytes.
    pub const BLOCK_SIZE: u16 = 512;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            max_block_size: None,
            max_window: 64,
            max_transfers: 10,
            max_per_client: 10,
            allow: Vec::new(),
        }
    }

    fn granted(asked: Options, size: u64) -> Granted {
        negotiate(&asked, Some(size), &limits(), 1500)
    }

    #[test]
    fn rfc1350_without_options_there_is_no_oack() {
        let plain = Granted { block_size: 512, window: 1, timeout: None, oack: None, asked_size: false };
        assert_eq!(granted(Options::default(), 9), plain);
    }

    #[test]
    fn rfc2348_a_block_is_never_larger_than_asked_for_or_than_the_path_carries() {
        for (asked, given) in [(8, 8), (512, 512), (1024, 1024), (1468, 1468), (1469, 1468), (65464, 1468)] {
            let options = Options { block_size: Some(asked), ..Options::default() };
            let granted = granted(options, 9);
            assert_eq!(granted.block_size, given);
            assert_eq!(granted.oack, Some(Options { block_size: Some(given), ..Options::default() }));
        }
    }

    #[test]
    fn rfc2349_the_size_is_told_when_it_is_known_and_not_zero() {
        let asked = Options { transfer_size: Some(0), ..Options::default() };
        assert_eq!(granted(asked, 5 << 30).oack.unwrap().transfer_size, Some(5 << 30));
        assert_eq!(granted(asked, 0).oack, None, "curl refuses a size of 0");
        assert_eq!(negotiate(&asked, None, &limits(), 1500).oack, None, "netascii");
        assert!(granted(asked, 0).asked_size && !granted(Options::default(), 1).asked_size);
    }

    #[test]
    fn rfc2349_the_timeout_is_granted_as_asked_for() {
        for seconds in [1, 5, 255] {
            let asked = Options { timeout: Some(seconds), ..Options::default() };
            let granted = granted(asked, 9);
            assert_eq!(granted.oack, Some(asked), "the server may not change it");
            assert_eq!(granted.timeout, Some(Duration::from_secs(seconds.into())));
        }
    }

    #[test]
    fn t_10_a_window_is_bounded_in_blocks_and_bytes() {
        let window = |block: Option<u16>, window: u16, mtu: u32| {
            let asked = Options { block_size: block, window_size: Some(window), ..Options::default() };
            negotiate(&asked, Some(9), &limits(), mtu).window
        };
        assert_eq!(window(None, 1, 1500), 1);
        assert_eq!(window(None, 65535, 1500), 64);
        assert_eq!(window(Some(1468), 4, 1500), 4);
        assert_eq!(window(Some(65464), 65535, 65536), 8, "512 KiB");
    }
}
