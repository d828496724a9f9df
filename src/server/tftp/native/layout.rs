//! How the blocks of a file lie in memory: as the DATA packets that they are sent as, one after another.

use std::array;
use std::io::{self, IoSliceMut};

use crate::images::Content;
use crate::wire::tftp::DATA_HEADER;

/// Bytes read ahead of a client whose window is smaller than this: eleven blocks of Ethernet in one system call, and
/// 1,000 such clients have 16 MiB.
pub const READ_AHEAD: usize = 16 << 10;
/// Blocks read in one system call.
const PARTS: usize = 64;

/// Bytes of all datagrams of `size` bytes of data.
pub fn laid_out_size(size: u64, block_size: usize) -> Option<usize> {
    let blocks = (size / block_size as u64).checked_add(1)?;
    usize::try_from(size.checked_add(blocks.checked_mul(DATA_HEADER as u64)?)?).ok()
}

/// Fills `buffer` with DATA packets from block `first` on.
pub fn lay_out(content: &Content, first: u64, block_size: usize, buffer: &mut [u8]) -> io::Result<()> {
    let stride = block_size + DATA_HEADER;
    let mut number = first;
    for group in buffer.chunks_mut(stride * PARTS) {
        let offset = number.saturating_sub(1).saturating_mul(block_size as u64);
        let mut parts: [IoSliceMut<'_>; PARTS] = array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut count = 0;
        for (part, datagram) in parts.iter_mut().zip(group.chunks_mut(stride)) {
            let (head, data) = datagram.split_at_mut(DATA_HEADER.min(datagram.len()));
            head.copy_from_slice(&header(number)[..head.len()]);
            *part = IoSliceMut::new(data);
            number += 1;
            count += 1;
        }
        content.read_parts_at(&mut parts[..count], offset)?;
    }
    Ok(())
}

/// What comes before the data of block `number`, of which the low 16 bits are sent: it wraps to 0.
pub fn header(number: u64) -> [u8; DATA_HEADER] {
    let [high, low] = (number as u16).to_be_bytes();
    [0, 3, high, low]
}

/// The first `len` bytes of a buffer that grows to the largest that was wanted.
pub fn at_least(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}
