//! Chunks of whole lines from a file or standard input, plain, gzip or zstd (told by the first bytes, not by the name).

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use bytes::Bytes;

/// Lines are handed on in chunks of about this size: large enough to share a durable write, small enough to stay in cache.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The longest line; an event's body is bounded far below.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Whole lines of a log.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The lines, each ended by a line feed (the last one of the log perhaps not).
    pub text: Bytes,
    /// The number of the first of them, from 1.
    pub first_line: u64,
}

impl Chunk {
    /// Each line with its number, line ends cut; empty lines left out.
    pub fn lines(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        let mut start = 0;
        let mut number = self.first_line;
        std::iter::from_fn(move || {
            loop {
                let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
                let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                let line = self.text.slice(start..start + length);
                let at = number;
                start += length + 1;
                number += 1;
                let line = if line.last() == Some(&b'\r') { line.slice(..line.len() - 1) } else { line };
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return Some((at, line));
                }
                if start >= self.text.len() {
                    return None;
                }
            }
        })
    }
}

/// Reads a log chunk by chunk.
pub struct Chunks {
    input: Box<dyn Read + Send>,
    left: Vec<u8>,
    next_line: u64,
    is_ended: bool,
}

impl Chunks {
    /// Opens a file, or standard input for `-`; `watch` sees every byte that is read before decompression.
    ///
    /// # Errors
    /// The file cannot be opened or its head not be read.
    pub fn open(
        path: &Path,
        watch: impl FnOnce(Box<dyn Read + Send>) -> Box<dyn Read + Send>,
    ) -> io::Result<Self> {
        let raw: Box<dyn Read + Send> =
            if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
        Self::new(watch(raw))
    }

    /// Reads from anything.
    ///
    /// # Errors
    /// The head cannot be read.
    pub fn new(raw: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut raw = BufReader::with_capacity(1 << 16, raw);
        let head = raw.fill_buf()?;
        let input: Box<dyn Read + Send> = match head {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(raw)?),
            _ => Box::new(raw),
        };
        Ok(Self { input, left: Vec::new(), next_line: 1, is_ended: false })
    }

    /// The next chunk; none at the end.
    ///
    /// # Errors
    /// Reading or decompressing fails, or a line is longer than [`LINE_BYTES_MAX`].
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut text = std::mem::take(&mut self.left);
        let cut = loop {
            if self.is_ended {
                break text.len();
            }
            let from = text.len();
            text.resize(from + CHUNK_BYTES, 0);
            let read = read_full(&mut self.input, text.get_mut(from..).unwrap_or_default())?;
            text.truncate(from + read);
            self.is_ended = read < CHUNK_BYTES;
            if let Some(last) = memchr::memrchr(b'\n', &text) {
                break if self.is_ended { text.len() } else { last + 1 };
            }
            if text.len() > LINE_BYTES_MAX {
                let reason = format!("line {} is longer than {LINE_BYTES_MAX} bytes", self.next_line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        };
        self.left = text.split_off(cut);
        if text.is_empty() {
            return Ok(None);
        }
        let first_line = self.next_line;
        self.next_line += memchr::memchr_iter(b'\n', &text).count() as u64;
        Ok(Some(Chunk { text: Bytes::from(text), first_line }))
    }
}

fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn all(input: Vec<u8>) -> Vec<(u64, String)> {
        let mut chunks = Chunks::new(Box::new(io::Cursor::new(input))).unwrap();
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            found.extend(
                chunk.lines().map(|(number, line)| (number, String::from_utf8(line.to_vec()).unwrap())),
            );
        }
        found
    }

    fn text(lines: usize) -> (Vec<u8>, Vec<(u64, String)>) {
        let wanted: Vec<_> =
            (1..=lines as u64).map(|n| (n, format!("line {n} {}", "x".repeat((n % 97) as usize)))).collect();
        (wanted.iter().flat_map(|(_, line)| format!("{line}\n").into_bytes()).collect(), wanted)
    }

    #[test]
    fn plain_gzip_and_zstd_give_the_same_lines_across_chunks() {
        let (plain, wanted) = text(20_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        assert_eq!(all(gzip.finish().unwrap()), wanted);
        assert_eq!(all(zstd::encode_all(&plain[..], 1).unwrap()), wanted);
        assert_eq!(all(plain), wanted);
    }

    #[test]
    fn empty_lines_count_and_a_last_line_needs_no_end() {
        let wanted = vec![(1, "a".to_owned()), (4, "b".to_owned())];
        assert_eq!(all(b"a\r\n\n  \nb".to_vec()), wanted);
        assert_eq!(all(Vec::new()), Vec::new());
        assert_eq!(all(b"\n\n".to_vec()), Vec::new());
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut chunks = Chunks::new(Box::new(io::repeat(b'x'))).unwrap();
        assert!(chunks.next_chunk().unwrap_err().to_string().starts_with("line 1 is longer"));
    }
}
