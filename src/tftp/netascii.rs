//! Netascii (RFC 1350 section 1, from RFC 764 page 11): lines end in CR LF, and a CR elsewhere becomes CR NUL. On this
//! side lines end in LF, as in all local files.

use std::collections::VecDeque;

const LF: u8 = b'\n';
const CR: u8 = b'\r';
const NUL: u8 = 0;

/// The beginning of a block: the position in the content, and within the byte pair that a byte of content becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The bytes of content before the block.
    offset: u64,
    /// The second byte of a pair, if the first one was the last byte of the block before.
    pending: Option<u8>,
}

/// Encodes content as netascii, block by block. Blocks are numbered from 1 and never wrap here.
///
/// The number of content bytes in a block is known only once the block is filled. So the encoder keeps where each block
/// of the current window begins, and can fill any of them again.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The number of the first block with a known beginning.
    first: u64,
    /// The beginnings of that block and the following ones; at least one.
    places: VecDeque<Place>,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder { first: 1, places: VecDeque::from([Place::default()]) }
    }
}

impl Encoder {
    /// Returns the content offset of `block`. Returns `None` if an earlier block was not filled yet, or `block` was
    /// acknowledged.
    pub fn offset_of(&self, block: u64) -> Option<u64> {
        self.place(block).map(|place| place.offset)
    }

    /// Fills `out` with `block` and returns its length, which is less than that of `out` only for the last block.
    /// Returns `None` in the cases of [`Encoder::offset_of`].
    ///
    /// `content` begins at that offset and has as many bytes as `out`, or fewer at the end of the file. More are never
    /// needed, because each byte becomes one or two.
    pub fn fill(&mut self, block: u64, content: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut place = self.place(block)?;
        let room = out.len();
        let mut free = out.iter_mut();
        if let Some(pending) = place.pending
            && let Some(slot) = free.next()
        {
            *slot = pending;
            place.pending = None;
        }
        for byte in content {
            let Some(slot) = free.next() else { break };
            place.offset = place.offset.saturating_add(1);
            let (first, second) = match *byte {
                LF => (CR, Some(LF)),
                CR => (CR, Some(NUL)),
                other => (other, None),
            };
            *slot = first;
            if let Some(second) = second {
                match free.next() {
                    Some(slot) => *slot = second,
                    None => place.pending = Some(second),
                }
            }
        }
        let left = free.len();
        if self.place(block.saturating_add(1)).is_none() {
            self.places.push_back(place);
        }
        room.checked_sub(left)
    }

    /// Forgets the beginnings of the blocks before `block`, which were acknowledged.
    pub fn forget_before(&mut self, block: u64) {
        while self.first < block && self.places.len() > 1 {
            self.places.pop_front();
            self.first = self.first.saturating_add(1);
        }
    }

    fn place(&self, block: u64) -> Option<Place> {
        let at = usize::try_from(block.checked_sub(self.first)?).ok()?;
        self.places.get(at).copied()
    }
}

/// Decodes netascii that arrives in pieces of any size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    /// Whether the last byte was a CR, whose meaning depends on the next byte.
    after_cr: bool,
}

impl Decoder {
    /// Decodes `bytes` and appends the result to `out`. A CR before anything but LF and NUL is kept.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            if std::mem::take(&mut self.after_cr) {
                match *byte {
                    LF => {
                        out.push(LF);
                        continue;
                    }
                    NUL => {
                        out.push(CR);
                        continue;
                    }
                    _ => out.push(CR),
                }
            }
            match *byte {
                CR => self.after_cr = true,
                other => out.push(other),
            }
        }
    }

    /// Appends a CR at the end of the input, if there is one.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.after_cr {
            out.push(CR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Encodes `content` in blocks of `size` bytes, as a transfer would.
    fn blocks(content: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::default();
        let mut blocks = Vec::new();
        loop {
            let number = blocks.len() as u64 + 1;
            let block = fill(&mut encoder, content, number, size);
            let last = block.len() < size;
            blocks.push(block);
            encoder.forget_before(number);
            if last {
                return blocks;
            }
        }
    }

    fn fill(encoder: &mut Encoder, content: &[u8], number: u64, size: usize) -> Vec<u8> {
        let from = usize::try_from(encoder.offset_of(number).unwrap()).unwrap();
        let content = &content[from..content.len().min(from + size)];
        let mut block = vec![0xee; size];
        let len = encoder.fill(number, content, &mut block).unwrap();
        block.truncate(len);
        block
    }

    /// Encodes as RFC 764 says, byte by byte.
    fn reference_encoding(content: &[u8]) -> Vec<u8> {
        let pair = |byte: &u8| match *byte {
            b'\n' => b"\r\n".to_vec(),
            b'\r' => b"\r\0".to_vec(),
            other => vec![other],
        };
        content.iter().flat_map(pair).collect()
    }

    #[test]
    fn rfc764_a_line_ends_in_cr_lf_and_a_cr_alone_is_cr_nul() {
        assert_eq!(blocks(b"a\nb\rc\r\n", 512), [b"a\r\nb\r\0c\r\0\r\n".to_vec()]);
        assert_eq!(blocks(b"", 512), [b"".to_vec()]);
    }

    #[test]
    fn rfc1350_1_a_pair_is_split_at_the_edge_of_a_block() {
        assert_eq!(blocks(b"abc\nd", 4), [b"abc\r".to_vec(), b"\nd".to_vec()]);
        assert_eq!(blocks(b"abc\rd", 4), [b"abc\r".to_vec(), b"\0d".to_vec()]);
        // The second half of the pair becomes its own block, or fills the last one.
        assert_eq!(blocks(b"abc\n", 4), [b"abc\r".to_vec(), b"\n".to_vec()]);
        assert_eq!(blocks(b"\n\n", 4), [b"\r\n\r\n".to_vec(), b"".to_vec()]);
        assert_eq!(blocks(b"\n", 1), [b"\r".to_vec(), b"\n".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn unreached_and_acknowledged_blocks_have_no_offset() {
        let mut encoder = Encoder::default();
        assert_eq!((encoder.offset_of(0), encoder.offset_of(1), encoder.offset_of(2)), (None, Some(0), None));
        assert_eq!(encoder.fill(2, b"x", &mut [0; 8]), None);
        fill(&mut encoder, b"abcdefgh", 1, 4);
        assert_eq!(encoder.offset_of(2), Some(4));
        encoder.forget_before(2);
        assert_eq!((encoder.offset_of(1), encoder.offset_of(2)), (None, Some(4)));
        encoder.forget_before(9);
        assert_eq!(encoder.offset_of(2), Some(4), "no further than it was filled");
    }

    #[test]
    fn rfc764_netascii_is_read_across_the_edges_of_blocks() {
        let read = |pieces: &[&[u8]]| {
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            pieces.iter().for_each(|piece| decoder.decode(piece, &mut out));
            decoder.finish(&mut out);
            out
        };
        assert_eq!(read(&[b"a\r\nb\r\0c\n"]), b"a\nb\rc\n");
        assert_eq!(read(&[b"a\r", b"\nb\r", b"", b"\0"]), b"a\nb\r");
        assert_eq!(read(&[b"a\rb\r\r\n\r"]), b"a\rb\r\n\r", "what no netascii has stands for itself");
    }

    /// Generates bytes with many line ends.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'\n'), Just(b'\r'), Just(0), any::<u8>()];
        proptest::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn blocks_of_any_size_are_the_netascii_of_the_content(content in text(), size in 1_usize..40) {
            let blocks = blocks(&content, size);
            let (last, others) = blocks.split_last().unwrap();
            prop_assert!(others.iter().all(|block| block.len() == size) && last.len() < size);
            let whole = blocks.concat();
            prop_assert_eq!(&whole, &reference_encoding(&content));
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            blocks.iter().for_each(|block| decoder.decode(block, &mut out));
            decoder.finish(&mut out);
            prop_assert_eq!(out, content);
        }

        #[test]
        fn rfc7440_a_window_can_be_resent_from_any_block(
            content in text(),
            size in 1_usize..20,
            back in proptest::collection::vec(1_u64..8, 0..20),
        ) {
            let straight = blocks(&content, size);
            let mut encoder = Encoder::default();
            let mut next = 1;
            for back in back {
                // A window of up to 8 blocks is sent, then retransmitted from one of its blocks.
                let end = (next + 8).min(straight.len() as u64 + 1);
                for number in next..end {
                    let block = fill(&mut encoder, &content, number, size);
                    prop_assert_eq!(&block, &straight[usize::try_from(number - 1).unwrap()]);
                }
                let from = end.saturating_sub(back).max(next);
                encoder.forget_before(from);
                prop_assert!(encoder.places.len() <= 9);
                next = from;
            }
        }
    }
}
