//! The blocks of a file, read ahead a little for clients in lock-step.

use std::io;

use crate::images::Content;
use crate::tftp::netascii::Encoder;
use crate::wire::tftp::Mode;

/// Bytes read ahead of a client whose window is smaller than this: eleven blocks of Ethernet in one system call, and
/// 1,000 such clients have 16 MiB.
const READ_AHEAD: usize = 16 << 10;

/// What one transfer sends.
#[derive(Debug)]
pub struct Source {
    content: Content,
    block_size: usize,
    /// Text that is converted while it is sent; `None` for bytes as they are.
    netascii: Option<Encoder>,
    ahead: Vec<u8>,
    /// The offset in the file of what was read ahead.
    ahead_at: u64,
}

/// Blocks to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks<'a> {
    /// Their bytes, one after another.
    pub data: &'a [u8],
    /// How many.
    pub count: usize,
    /// The last of them is the last of the file, which was not known before.
    pub ends: bool,
}

impl Source {
    /// `block_size` is at least 1.
    pub fn new(content: Content, mode: Mode, block_size: u16) -> Source {
        Source {
            content,
            block_size: usize::from(block_size.max(1)),
            netascii: (mode == Mode::Netascii).then(Encoder::default),
            ahead: Vec::new(),
            ahead_at: 0,
        }
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.content.size()
    }

    /// Bytes that will be sent, if that is known.
    pub fn known_size(&self) -> Option<u64> {
        self.netascii.is_none().then(|| self.size())
    }

    /// The file's name beneath boot-images/.
    pub fn name(&self) -> &str {
        self.content.name()
    }

    /// Bytes of data in a block that is not the last.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// The client has the blocks before number `block`: they are not asked for again.
    pub fn forget_before(&mut self, block: u64) {
        if let Some(encoder) = &mut self.netascii {
            encoder.forget_before(block);
        }
    }

    /// `count` blocks from number `first` (from 1) on: fewer where the file ends. They lie in `scratch` or in what was
    /// read ahead.
    ///
    /// # Errors
    /// When the disk fails, or the file is shorter than it was.
    pub fn blocks<'a>(
        &'a mut self,
        first: u64,
        count: usize,
        scratch: &'a mut Vec<u8>,
    ) -> io::Result<Blocks<'a>> {
        if self.netascii.is_some() {
            return self.text_blocks(first, count, scratch);
        }
        let data = self.plain_blocks(first, count, scratch)?;
        Ok(Blocks { data, count, ends: false })
    }

    fn plain_blocks<'a>(
        &'a mut self,
        first: u64,
        count: usize,
        scratch: &'a mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        let offset = first.saturating_sub(1).saturating_mul(self.block_size as u64);
        let left = usize::try_from(self.content.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = (count * self.block_size).min(left);
        if want > READ_AHEAD {
            let buffer = at_least(scratch, want);
            self.content.read_at(buffer, offset)?;
            return Ok(buffer);
        }
        let begin = offset.checked_sub(self.ahead_at).and_then(|begin| usize::try_from(begin).ok());
        if let Some(begin) = begin.filter(|begin| begin + want <= self.ahead.len()) {
            return Ok(&self.ahead[begin..begin + want]);
        }
        // Whole blocks, so that the next ones begin where these end.
        let whole = READ_AHEAD / self.block_size * self.block_size;
        let ahead = left.min(whole.max(want));
        self.ahead.reserve_exact(ahead.saturating_sub(self.ahead.len()));
        self.ahead.resize(ahead, 0);
        self.ahead_at = offset;
        if let Err(error) = self.content.read_at(&mut self.ahead, offset) {
            self.ahead.clear();
            return Err(error);
        }
        Ok(&self.ahead[..want])
    }

    /// Converts block by block: behind the blocks in `scratch` is room for what one is made from.
    fn text_blocks<'a>(
        &mut self,
        first: u64,
        count: usize,
        scratch: &'a mut Vec<u8>,
    ) -> io::Result<Blocks<'a>> {
        let size = self.block_size;
        let (blocks, raw) = at_least(scratch, (count + 1) * size).split_at_mut(count * size);
        let encoder = self.netascii.get_or_insert_default();
        let (mut filled, mut done, mut ends) = (0, 0, false);
        for (number, block) in (first..).zip(blocks.chunks_exact_mut(size)) {
            let place = encoder.offset_of(number).ok_or(io::ErrorKind::InvalidInput)?;
            let read = self.content.read_at(raw, place)?;
            let len = encoder.fill(number, &raw[..read], block).ok_or(io::ErrorKind::InvalidInput)?;
            filled += len;
            done += 1;
            ends = len < size;
            if ends {
                break;
            }
        }
        Ok(Blocks { data: &blocks[..filled], count: done, ends })
    }
}

/// The first `len` bytes of a buffer that grows to the largest that was wanted.
fn at_least(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(size: usize, block_size: u16) -> (Vec<u8>, Source) {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
        let content = Content::text("x", bytes.clone());
        (bytes, Source::new(content, Mode::Octet, block_size))
    }

    #[test]
    fn blocks_are_the_bytes_of_the_file_whatever_is_asked_first() {
        for block_size in [8, 512, 1468, 9000, 65464] {
            let (bytes, mut source) = source(300_000, block_size);
            let mut scratch = Vec::new();
            let size = usize::from(block_size);
            let last = bytes.len() / size + 1;
            for (first, count) in
                [(1, 1), (2, 1), (1, 16), (17, 16), (3, 4), (last, 1), (last - 1, 2), (1, 64)]
            {
                let first = first.max(1);
                let from = ((first - 1) * size).min(bytes.len());
                let until = (from + count * size).min(bytes.len());
                let read = source.blocks(first as u64, count, &mut scratch).unwrap();
                assert_eq!(read.data, &bytes[from..until], "{first}+{count} of {block_size}");
            }
            assert!(source.ahead.capacity() <= READ_AHEAD, "{}", source.ahead.capacity());
        }
    }

    #[test]
    fn after_whole_blocks_there_is_an_empty_one() {
        let (_, mut source) = source(1024, 512);
        assert_eq!(source.blocks(3, 1, &mut Vec::new()).unwrap().data, b"");
        let (_, mut empty) = self::source(0, 512);
        assert_eq!(empty.blocks(1, 1, &mut Vec::new()).unwrap().data, b"");
    }

    #[test]
    fn netascii_is_the_same_however_often_it_is_asked_for() {
        let text: Vec<u8> = (0..5000).map(|i| if i % 7 == 0 { b'\n' } else { b'x' }).collect();
        let expected: Vec<u8> = text
            .iter()
            .flat_map(|byte| if *byte == b'\n' { b"\r\n".to_vec() } else { vec![*byte] })
            .collect();
        let mut source = Source::new(Content::text("x", text), Mode::Netascii, 512);
        assert_eq!((source.known_size(), source.size()), (None, 5000));
        let mut scratch = Vec::new();
        let blocks = expected.len() / 512 + 1;
        for (first, count) in [(1, 4), (1, 4), (3, 4), (5, 64), (7, 2)] {
            let from = (first - 1) * 512;
            let until = (from + count * 512).min(expected.len());
            let read = source.blocks(first as u64, count, &mut scratch).unwrap();
            assert_eq!(read.data, &expected[from..until], "{first}+{count}");
            assert_eq!((read.count, read.ends), (count.min(blocks + 1 - first), first + count > blocks));
        }
        source.forget_before(7);
        assert!(source.blocks(6, 1, &mut scratch).is_err(), "the client has it");
        assert!(source.blocks(7, 1, &mut scratch).is_ok());
    }
}
