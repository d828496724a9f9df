//! Option negotiation: the options of RFC 2347 to 2349 and 7440 that a read request gets, within our limits.

use std::time::Duration;

use crate::tftp::settings::Limits;
use crate::wire::tftp::Options;

/// The parameters of a transfer, and the OACK that announces them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// Bytes of data in a block: 8 to 65464, or 512 without the option (RFC 1350).
    pub block_size: u16,
    /// Blocks per acknowledgement: 1, or more with RFC 7440.
    pub window: u16,
    /// The client's retransmission timeout, if it sent one (RFC 2349).
    pub timeout: Option<Duration>,
    /// The granted options for the OACK. `None` if none is granted; the transfer then begins with the first block.
    pub oack: Option<Options>,
    /// Whether the client asked for the size, and so may not want anything else.
    pub asked_size: bool,
}

/// Grants the options in `asked`. `size` is the file size in bytes, `None` if it is not known before sending
/// (netascii). `mtu` is the largest datagram on the path to the client, in bytes.
///
/// Options that are not granted are left out of the answer (RFC 2347). A granted value is never more than the requested
/// one.
pub fn negotiate(asked: &Options, size: Option<u64>, limits: &Limits, mtu: u32) -> Granted {
    let block_size = asked.block_size.map(|wanted| wanted.min(limits.block_size_for(mtu)));
    let in_blocks = block_size.unwrap_or(Granted::BLOCK_SIZE);
    let window_size = asked.window_size.map(|wanted| wanted.min(limits.window_for(in_blocks)));
    // curl treats a size of 0 in an OACK as an error.
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
    /// The default block size in bytes (RFC 1350).
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
    fn rfc2348_a_block_fits_the_request_and_the_path() {
        for (asked, given) in [(8, 8), (512, 512), (1024, 1024), (1468, 1468), (1469, 1468), (65464, 1468)] {
            let options = Options { block_size: Some(asked), ..Options::default() };
            let granted = granted(options, 9);
            assert_eq!(granted.block_size, given);
            assert_eq!(granted.oack, Some(Options { block_size: Some(given), ..Options::default() }));
        }
    }

    #[test]
    fn rfc2349_a_known_nonzero_size_is_sent() {
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
