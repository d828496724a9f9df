//! Reads the blocks of a file as DATA packets, with a small read-ahead for lock-step clients. `transfer.rs` calls it.

use std::io;
use std::sync::Arc;

use super::layout::{READ_AHEAD, at_least, header, laid_out_size, lay_out};
use super::shared_reads::{ReadCache, SharedFile};
use crate::images::Content;
use crate::tftp::netascii::Encoder;
use crate::wire::tftp::{DATA_HEADER, Mode};

/// The content that one transfer sends.
#[derive(Debug)]
pub struct Source {
    content: Content,
    block_size: usize,
    /// Converts text while it is sent; `None` for octet mode.
    netascii: Option<Encoder>,
    /// The cache entry that other transfers of this file share.
    shared: Option<Arc<SharedFile>>,
    /// DATA packets that were read ahead.
    ahead: Vec<u8>,
    /// The number of the first packet in `ahead`.
    ahead_first: u64,
    /// Identifies this source in the [`Scratch`] of its thread.
    id: u64,
}

/// The buffer that all sources of a thread read windows into, in turn.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Its size is that of the largest window so far.
    buffer: Vec<u8>,
    /// The source, first block and number of bytes that it currently contains.
    holds: Option<(u64, u64, usize)>,
}

/// Blocks that are ready to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks<'a> {
    /// Consecutive DATA packets of [`Source::datagram_size`] bytes each; the last packet of the file is shorter.
    pub datagrams: &'a [u8],
    /// The number of packets.
    pub count: usize,
    /// Whether the last one is the last of the file, which was unknown before.
    pub ends: bool,
}

impl Source {
    /// `block_size` is at least 1; `id` distinguishes the source from others that use the same [`Scratch`].
    pub fn new(
        content: Content,
        mode: Mode,
        block_size: u16,
        id: u64,
        read_cache: &Arc<ReadCache>,
    ) -> Source {
        let block_size = usize::from(block_size.max(1));
        let netascii = (mode == Mode::Netascii).then(Encoder::default);
        let shared = if netascii.is_none() { read_cache.share(&content, block_size) } else { None };
        Source { content, block_size, netascii, shared, ahead: Vec::new(), ahead_first: 1, id }
    }

    /// The file size in bytes.
    pub fn size(&self) -> u64 {
        self.content.size()
    }

    /// The number of bytes to be sent, if it is known.
    pub fn known_size(&self) -> Option<u64> {
        self.netascii.is_none().then(|| self.size())
    }

    /// The file's name relative to boot-images/.
    pub fn name(&self) -> &str {
        self.content.name()
    }

    /// Data bytes of every block except the last.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Bytes of every DATA packet except the last.
    pub fn datagram_size(&self) -> usize {
        self.block_size + DATA_HEADER
    }

    /// Releases the state of the blocks before number `block`, which the client has.
    pub fn forget_before(&mut self, block: u64) {
        if let Some(encoder) = &mut self.netascii {
            encoder.forget_before(block);
        }
    }

    /// Returns `count` blocks starting with number `first` (from 1), or fewer at the end of the file. They are in
    /// `scratch`, in the read-ahead buffer or in the shared cache.
    ///
    /// # Errors
    /// If reading fails, or the file has become shorter.
    pub fn blocks<'a>(
        &'a mut self,
        first: u64,
        count: usize,
        scratch: &'a mut Scratch,
    ) -> io::Result<Blocks<'a>> {
        if self.netascii.is_some() {
            return self.text_blocks(first, count, scratch);
        }
        let datagrams = self.plain_blocks(first, count, scratch)?;
        Ok(Blocks { datagrams, count, ends: false })
    }

    /// Reads blocks that the client will probably need next. Errors are reported when they are sent.
    pub fn read_ahead(&mut self, first: u64, count: usize, scratch: &mut Scratch) {
        if self.netascii.is_none() {
            let _ = self.plain_blocks(first, count, scratch);
        }
    }

    fn plain_blocks<'a>(
        &'a mut self,
        first: u64,
        count: usize,
        scratch: &'a mut Scratch,
    ) -> io::Result<&'a [u8]> {
        let (stride, left) = (self.datagram_size(), self.left(first));
        let want = (count * stride).min(left);
        if let Some(all) = self.shared.as_ref().and_then(|shared| shared.datagrams(&self.content)) {
            let begin = all.len().saturating_sub(left);
            return Ok(&all[begin..begin + want]);
        }
        if want > READ_AHEAD {
            let holds = (self.id, first, want);
            let buffer = at_least(&mut scratch.buffer, want);
            if scratch.holds != Some(holds) {
                scratch.holds = None;
                lay_out(&self.content, first, self.block_size, buffer)?;
                scratch.holds = Some(holds);
            }
            return Ok(buffer);
        }
        let begin = first.checked_sub(self.ahead_first).and_then(|blocks| usize::try_from(blocks).ok());
        let begin = begin.and_then(|blocks| blocks.checked_mul(stride));
        if let Some(begin) = begin.filter(|begin| begin.saturating_add(want) <= self.ahead.len()) {
            return Ok(&self.ahead[begin..begin + want]);
        }
        // Read whole blocks, so that the next ones start where these end.
        let whole = READ_AHEAD / stride * stride;
        let ahead = left.min(whole.max(want));
        self.ahead.reserve_exact(ahead.saturating_sub(self.ahead.len()));
        self.ahead.resize(ahead, 0);
        self.ahead_first = first;
        if let Err(error) = lay_out(&self.content, first, self.block_size, &mut self.ahead) {
            self.ahead.clear();
            return Err(error);
        }
        Ok(&self.ahead[..want])
    }

    /// Bytes of the DATA packets from block `first` to the end of the file.
    fn left(&self, first: u64) -> usize {
        let offset = first.saturating_sub(1).saturating_mul(self.block_size as u64);
        match self.content.size().checked_sub(offset) {
            Some(left) => laid_out_size(left, self.block_size).unwrap_or(usize::MAX),
            None => 0,
        }
    }

    /// Converts text block by block. The buffer has room behind the blocks for the bytes that one block is made from.
    fn text_blocks<'a>(
        &mut self,
        first: u64,
        count: usize,
        scratch: &'a mut Scratch,
    ) -> io::Result<Blocks<'a>> {
        let (size, stride) = (self.block_size, self.datagram_size());
        scratch.holds = None;
        let buffer = at_least(&mut scratch.buffer, count * stride + size);
        let (blocks, raw) = buffer.split_at_mut(count * stride);
        let encoder = self.netascii.get_or_insert_default();
        let (mut filled, mut done, mut ends) = (0, 0, false);
        for (number, datagram) in (first..).zip(blocks.chunks_exact_mut(stride)) {
            let (head, block) = datagram.split_at_mut(DATA_HEADER);
            head.copy_from_slice(&header(number));
            let place = encoder.offset_of(number).ok_or(io::ErrorKind::InvalidInput)?;
            let read = self.content.read_at(raw, place)?;
            let len = encoder.fill(number, &raw[..read], block).ok_or(io::ErrorKind::InvalidInput)?;
            filled += DATA_HEADER + len;
            done += 1;
            ends = len < size;
            if ends {
                break;
            }
        }
        Ok(Blocks { datagrams: &blocks[..filled], count: done, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bytes: Vec<u8>, mode: Mode, block_size: u16) -> Source {
        Source::new(Content::text("x", bytes), mode, block_size, 1, &Arc::default())
    }

    /// Returns the data of packets after checking their headers.
    fn data(read: Blocks<'_>, first: u64, size: usize) -> Vec<u8> {
        let mut data = Vec::new();
        let mut numbers = first..;
        for datagram in read.datagrams.chunks(size + DATA_HEADER) {
            assert_eq!(datagram[..DATA_HEADER], header(numbers.next().unwrap()));
            data.extend(&datagram[DATA_HEADER..]);
        }
        assert_eq!(numbers.start, first + read.count as u64);
        data
    }

    #[test]
    fn blocks_equal_the_file_in_any_order() {
        let bytes: Vec<u8> = (0..300_000).map(|i| (i * 7 + i / 251) as u8).collect();
        for block_size in [8, 512, 1468, 9000, 65464] {
            let mut source = source(bytes.clone(), Mode::Octet, block_size);
            let mut scratch = Scratch::default();
            let size = usize::from(block_size);
            let last = bytes.len() / size + 1;
            for (first, count) in
                [(1, 1), (2, 1), (1, 16), (17, 16), (3, 4), (last, 1), (last - 1, 2), (1, 64), (1, 64)]
            {
                let first = first.max(1);
                let count = count.min((last + 1).saturating_sub(first));
                let from = ((first - 1) * size).min(bytes.len());
                let until = (from + count * size).min(bytes.len());
                source.read_ahead(first as u64, count, &mut scratch);
                let read = source.blocks(first as u64, count, &mut scratch).unwrap();
                assert_eq!(
                    data(read, first as u64, size),
                    &bytes[from..until],
                    "{first}+{count} of {block_size}"
                );
            }
            assert!(source.ahead.capacity() <= READ_AHEAD, "{}", source.ahead.capacity());
        }
    }

    #[test]
    fn the_windows_of_two_transfers_are_not_mixed_up() {
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            for id in [1_u8, 2] {
                let content = Content::text("x", vec![id; 100_000]);
                let mut source = Source::new(content, Mode::Octet, 1468, id.into(), &Arc::default());
                let read = source.blocks(1, 16, &mut scratch).unwrap();
                assert_eq!(data(read, 1, 1468), vec![id; 16 * 1468]);
            }
        }
    }

    #[test]
    fn after_whole_blocks_there_is_an_empty_one() {
        let mut whole = source(vec![0; 1024], Mode::Octet, 512);
        assert_eq!(whole.blocks(3, 1, &mut Scratch::default()).unwrap().datagrams, [0, 3, 0, 3]);
        let mut empty = source(Vec::new(), Mode::Octet, 512);
        assert_eq!(empty.blocks(1, 1, &mut Scratch::default()).unwrap().datagrams, [0, 3, 0, 1]);
    }

    #[test]
    fn a_block_number_wraps() {
        let mut source = source(vec![9; 8 * 65_600], Mode::Octet, 8);
        let mut scratch = Scratch::default();
        let read = source.blocks(65_535, 3, &mut scratch).unwrap().datagrams;
        let headers: Vec<_> = read.chunks(12).map(|datagram| &datagram[..4]).collect();
        assert_eq!(headers, [[0, 3, 255, 255], [0, 3, 0, 0], [0, 3, 0, 1]]);
    }

    #[test]
    fn repeated_netascii_blocks_are_identical() {
        let text: Vec<u8> = (0..5000).map(|i| if i % 7 == 0 { b'\n' } else { b'x' }).collect();
        let expected: Vec<u8> = text
            .iter()
            .flat_map(|byte| if *byte == b'\n' { b"\r\n".to_vec() } else { vec![*byte] })
            .collect();
        let mut source = source(text, Mode::Netascii, 512);
        assert_eq!((source.known_size(), source.size()), (None, 5000));
        let mut scratch = Scratch::default();
        let blocks = expected.len() / 512 + 1;
        for (first, count) in [(1, 4), (1, 4), (3, 4), (5, 64), (7, 2)] {
            let from = (first - 1) * 512;
            let until = (from + count * 512).min(expected.len());
            let read = source.blocks(first as u64, count, &mut scratch).unwrap();
            assert_eq!((read.count, read.ends), (count.min(blocks + 1 - first), first + count > blocks));
            assert_eq!(data(read, first as u64, 512), &expected[from..until], "{first}+{count}");
        }
        source.forget_before(7);
        assert!(source.blocks(6, 1, &mut scratch).is_err(), "the client has it");
        assert!(source.blocks(7, 1, &mut scratch).is_ok());
    }
}
