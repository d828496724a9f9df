//! Lays out the blocks of a file in memory as consecutive DATA packets, ready to be sent. `blocks.rs` and
//! `shared_reads.rs` call it.

use std::array;
use std::io::{self, IoSliceMut};

use crate::images::Content;
use crate::wire::tftp::DATA_HEADER;

/// Number of bytes that are read ahead for a client with a smaller window. It is eleven Ethernet blocks in one system
/// call, and 16 MiB for 1,000 such clients.
pub const READ_AHEAD: usize = 16 << 10;
/// Number of blocks that are read in one system call.
const PARTS: usize = 64;

/// The total size of the DATA packets for `size` bytes of data.
pub fn laid_out_size(size: u64, block_size: usize) -> Option<usize> {
    let blocks = (size / block_size as u64).checked_add(1)?;
    usize::try_from(size.checked_add(blocks.checked_mul(DATA_HEADER as u64)?)?).ok()
}

/// Fills `buffer` with consecutive DATA packets, starting with block `first`.
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

/// The header of DATA packet `number`. Only the low 16 bits are sent, so the block number wraps to 0.
pub fn header(number: u64) -> [u8; DATA_HEADER] {
    let [high, low] = (number as u16).to_be_bytes();
    [0, 3, high, low]
}

/// The first `len` bytes of a buffer, which grows if it is smaller.
pub fn at_least(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}
