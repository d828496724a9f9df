//! Unpacks compressed archives and RAM disks. The format is recognised by the first bytes. gzip, XZ and Zstandard are
//! unpacked here, the others by a program of this system.

use std::io::{self, BufRead, ErrorKind, Read};
use std::process::{Child, Command, Stdio};

/// Memory limit for unpacking XZ, in KiB; `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 256 * 1024;
/// Maximum window size of Zstandard in bytes: that of `zstd --ultra -22`.
const ZSTD_WINDOW: u64 = 128 * 1024 * 1024;
/// Number of first bytes that show the format.
pub(in crate::images) const MAGIC_SIZE: usize = 6;

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::images) enum Compression {
    Gzip,
    Xz,
    Zstd,
    /// Unpacked by the program of this name with `-dc`.
    Program(&'static str),
}

/// The format of data that begins with `magic`; `None` if it is not compressed in a known way. The magic numbers are
/// those of the kernel (`lib/decompress.c`) and of bzip2.
pub(in crate::images) fn recognise(magic: &[u8]) -> Option<Compression> {
    const MAGICS: [(&[u8], Compression); 7] = [
        (b"\x1f\x8b", Compression::Gzip),
        (b"\xfd7zXZ\0", Compression::Xz),
        (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        (b"\x02\x21\x4c\x18", Compression::Program("lz4")),
        (b"\x04\x22\x4d\x18", Compression::Program("lz4")),
        (b"BZh", Compression::Program("bzip2")),
        (b"\x5d\0\0", Compression::Program("lzma")),
    ];
    MAGICS.iter().find(|(start, _)| magic.starts_with(start)).map(|(_, compression)| *compression)
}

/// The part of the input that belongs to one compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::images) enum Extent {
    /// Everything, as in a file: several streams may follow each other.
    Whole,
    /// One stream, as in an initrd: something else may follow.
    OneStream,
}

/// Unpacks the beginning of `input`.
///
/// # Errors
/// The beginning is damaged, or the program for this format is not installed.
pub(in crate::images) fn unpack<'r, R: Read>(
    compression: Compression,
    extent: Extent,
    input: &'r mut Peek<R>,
) -> io::Result<Box<dyn Read + 'r>> {
    let has_more = extent == Extent::Whole;
    Ok(match compression {
        Compression::Gzip if has_more => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, has_more, XZ_MEMORY)),
        Compression::Zstd => Box::new(ZstdFrames(Some(zstd_frame(input)?))),
        Compression::Program(name) => Box::new(Unpacker::start(name, input)?),
    })
}

/// A reader whose next bytes can be seen without taking them.
#[derive(Debug)]
pub(in crate::images) struct Peek<R> {
    input: R,
    buffer: Vec<u8>,
    /// The part of the buffer that was not taken yet.
    unread: std::ops::Range<usize>,
}

impl<R: Read> Peek<R> {
    pub(in crate::images) fn new(input: R) -> Peek<R> {
        Peek { input, buffer: vec![0; 64 * 1024], unread: 0..0 }
    }

    /// The next [`MAGIC_SIZE`] bytes, or fewer at the end.
    pub(in crate::images) fn magic(&mut self) -> io::Result<&[u8]> {
        while self.unread.len() < MAGIC_SIZE {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            let room = self.buffer.get_mut(self.unread.end..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => break,
                Ok(read) => self.unread.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
        Ok(unread.get(..MAGIC_SIZE).unwrap_or(unread))
    }
}

impl<R: Read> BufRead for Peek<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty() {
            self.unread = 0..self.input.read(&mut self.buffer)?;
        }
        Ok(self.buffer.get(self.unread.clone()).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.unread.start = self.unread.end.min(self.unread.start + count);
    }
}

impl<R: Read> Read for Peek<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(bytes)?;
        self.consume(read);
        Ok(read)
    }
}

type ZstdFrame<'r, R> = ruzstd::decoding::StreamingDecoder<&'r mut Peek<R>, ruzstd::decoding::FrameDecoder>;

fn zstd_frame<R: Read>(input: &mut Peek<R>) -> io::Result<ZstdFrame<'_, R>> {
    ZstdFrame::new_with_max_window_size(input, ZSTD_WINDOW).map_err(io::Error::other)
}

/// Reads one frame of Zstandard after another, as `pzstd` and concatenated files have them.
struct ZstdFrames<'r, R: Read>(Option<ZstdFrame<'r, R>>);

impl<R: Read> Read for ZstdFrames<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.0 else { return Ok(0) };
            match frame.read(bytes)? {
                0 if !bytes.is_empty() => {}
                read => return Ok(read),
            }
            let Some(frame) = self.0.take() else { return Ok(0) };
            let input = frame.into_inner();
            if recognise(input.magic()?) == Some(Compression::Zstd) {
                self.0 = Some(zstd_frame(input)?);
            }
        }
    }
}

/// A program that unpacks. It is ended on drop.
struct Unpacker {
    child: Child,
}

impl Unpacker {
    /// Starts `name` with a copy of `input`, which is small: an initrd.
    fn start(name: &'static str, mut input: impl BufRead) -> io::Result<Unpacker> {
        let mut copy = tempfile::tempfile()?;
        io::copy(&mut input, &mut copy)?;
        io::Seek::rewind(&mut copy)?;
        let mut command = Command::new(name);
        command.arg("-dc").stdin(copy).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => io::Error::other(format!("{name} is not installed, which unpacks it")),
            _ => io::Error::other(format!("cannot run {name}: {error}")),
        })?;
        Ok(Unpacker { child })
    }
}

impl Read for Unpacker {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.child.stdout.as_mut().map_or(Ok(0), |output| output.read(bytes))
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
