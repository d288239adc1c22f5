//! A block: what one group commit wrote, in one write.
//!
//! Law: a block is whole, or torn (its last write did not finish: a part is missing or zero), or damaged; the three are
//! never mistaken for each other. Called by `writer` (build), `chunk`, `recover` and `verify` (check).
//!
//! ```text
//! head:  magic u32 | body length u32 | records u32 | pages u32 | base u64 | chain of the block before u64 | head sum u64
//! body:  records
//! tail:  a sum u32 for each 4 KiB page of the file that the body touches | chain u64 over head and page sums
//! ```

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::le::{Cut, is_zero};

/// Bytes of the head.
pub(super) const HEAD: usize = 40;
/// Opens every block.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"IBLK");
/// What a disk writes whole.
const PAGE: u64 = 4096;
/// Bytes of the chain at the end.
const CHAIN: usize = 8;

/// Why bytes are not the block that should stand there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where in the file.
    pub(super) offset: u64,
    pub(super) what: &'static str,
    /// A part is missing or zero, as when a write did not finish.
    pub(super) torn: bool,
}

/// A block that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Length with head and tail.
    pub(super) length: usize,
    pub(super) chain: u64,
    pub(super) previous: u64,
    pub(super) records: u32,
}

/// A head that can be trusted.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) body: usize,
    pub(super) records: u32,
    pages: usize,
    pub(super) base: u64,
    pub(super) previous: u64,
}

impl Head {
    /// The head that begins here, if its sum holds.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cut = Cut(bytes);
        let magic = cut.u32()?;
        let head = Self {
            body: cut.u32()? as usize,
            records: cut.u32()?,
            pages: cut.u32()? as usize,
            base: cut.u64()?,
            previous: cut.u64()?,
        };
        (magic == MAGIC && xxh3_64(bytes.get(..HEAD - 8)?) == cut.u64()?).then_some(head)
    }

    /// Length of the whole block.
    pub(super) fn length(&self) -> usize {
        HEAD + self.body + 4 * self.pages + CHAIN
    }
}

/// The parts of `from..from + length` of a file, cut at its pages.
fn pages(mut from: u64, length: usize) -> impl Iterator<Item = usize> {
    let end = from + length as u64;
    std::iter::from_fn(move || {
        let next = ((from / PAGE + 1) * PAGE).min(end);
        let part = next.checked_sub(from).filter(|part| *part > 0)?;
        from = next;
        usize::try_from(part).ok()
    })
}

/// Whether a page's worth of these bytes was never written.
fn has_hole(bytes: &[u8], offset: u64) -> bool {
    let mut cut = Cut(bytes);
    pages(offset, bytes.len()).any(|part| cut.bytes(part).is_some_and(is_zero))
}

/// Makes blocks.
pub(super) struct Builder {
    bytes: Vec<u8>,
    base: u64,
    offset: u64,
    records: u32,
}

impl Builder {
    /// A block that will stand at position `base`, at `offset` of its file; `spare` is a used buffer.
    pub(super) fn new(base: u64, offset: u64, mut spare: Vec<u8>) -> Self {
        spare.clear();
        spare.resize(HEAD, 0);
        Self { bytes: spare, base, offset, records: 0 }
    }

    /// Where the next record will stand.
    pub(super) fn position(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The bytes so far, from the block's base on.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// Writes one record at [`Self::position`].
    pub(super) fn record(&mut self, write: impl FnOnce(&mut Vec<u8>, u64)) {
        let position = self.position();
        write(&mut self.bytes, position);
        self.records += 1;
    }

    /// Closes the block; gives its bytes and its chain.
    pub(super) fn finish(mut self, previous: u64) -> (Vec<u8>, u64) {
        let body = self.bytes.len() - HEAD;
        let sums: Vec<u32> = {
            let mut cut = Cut(self.bytes.get(HEAD..).unwrap_or_default());
            let parts = pages(self.offset + HEAD as u64, body);
            parts.filter_map(|part| cut.bytes(part)).map(|page| xxh3_64(page) as u32).collect()
        };
        let mut head = Vec::with_capacity(HEAD);
        for field in [MAGIC, body as u32, self.records, sums.len() as u32] {
            head.extend_from_slice(&field.to_le_bytes());
        }
        head.extend_from_slice(&self.base.to_le_bytes());
        head.extend_from_slice(&previous.to_le_bytes());
        head.extend_from_slice(&xxh3_64(&head).to_le_bytes());
        if let Some(place) = self.bytes.get_mut(..HEAD) {
            place.copy_from_slice(&head);
        }
        let tail_at = self.bytes.len();
        for sum in sums {
            self.bytes.extend_from_slice(&sum.to_le_bytes());
        }
        let chain = chain(&head, self.bytes.get(tail_at..).unwrap_or_default());
        self.bytes.extend_from_slice(&chain.to_le_bytes());
        (self.bytes, chain)
    }
}

fn chain(head: &[u8], sums: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(head);
    hash.update(sums);
    hash.digest()
}

/// Checks the block that begins at `bytes`, which go on to the end of the file; it should stand at position `base`, at
/// `offset` of its file.
pub(super) fn check(bytes: &[u8], base: u64, offset: u64) -> Result<Whole, Fault> {
    let fault = |at: usize, what, torn| Fault { offset: offset + at as u64, what, torn };
    let head_bytes = bytes.get(..HEAD);
    let Some(head_bytes) = head_bytes else {
        return Err(fault(0, "a block's head is cut short", true));
    };
    let Some(head) = Head::parse(head_bytes) else {
        return Err(fault(0, "a block's head does not match its checksum", has_hole(head_bytes, offset)));
    };
    if head.base != base {
        return Err(fault(16, "a block stands where it was not written", false));
    }
    let tail_at = HEAD + head.body;
    let (Some(body), Some(tail)) = (bytes.get(HEAD..tail_at), bytes.get(tail_at..head.length())) else {
        return Err(fault(0, "a block is cut short", true));
    };
    let (sums, stored_chain) = tail.split_at_checked(4 * head.pages).unwrap_or_default();
    if Cut(stored_chain).u64() != Some(chain(head_bytes, sums)) {
        // The body may be torn as well; a hole anywhere says that the write did not finish.
        let torn = has_hole(tail, offset + tail_at as u64);
        return Err(fault(tail_at, "a block's page checksums do not match their checksum", torn));
    }
    let (mut cut, mut sums) = (Cut(body), Cut(sums));
    let mut at = HEAD;
    let mut damage: Option<usize> = None;
    for part in pages(offset + HEAD as u64, head.body) {
        let page = cut.bytes(part).unwrap_or_default();
        if sums.u32() != Some(xxh3_64(page) as u32) {
            if is_zero(page) {
                return Err(fault(at, "a page of a block is missing", true));
            }
            damage = damage.or(Some(at));
        }
        at += part;
    }
    match damage {
        Some(at) => Err(fault(at, "a page of a block does not match its checksum", false)),
        None => Ok(Whole {
            length: head.length(),
            chain: chain(head_bytes, tail.get(..4 * head.pages).unwrap_or_default()),
            previous: head.previous,
            records: head.records,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(body: usize) -> (Vec<u8>, u64) {
        let mut builder = Builder::new(1_000, 3_000, Vec::new());
        builder.record(|bytes, _| bytes.extend((0..body).map(|at| (at % 7) as u8)));
        builder.finish(5)
    }

    #[test]
    fn a_whole_block_is_whole() {
        let (bytes, chain) = block(20_000);
        let whole = Whole { length: bytes.len(), chain, previous: 5, records: 1 };
        assert_eq!(check(&bytes, 1_000, 3_000), Ok(whole));
        assert!(!check(&bytes, 1_001, 3_000).unwrap_err().torn);
    }

    #[test]
    fn every_flip_is_damage_and_never_a_torn_write() {
        let (mut bytes, _) = block(9_000);
        for at in 0..bytes.len() {
            for bit in [0, 6] {
                bytes[at] ^= 1 << bit;
                let fault = check(&bytes, 1_000, 3_000).unwrap_err();
                // A flipped length cannot pass: the head has a sum of its own.
                assert!(!fault.torn, "byte {at}: {fault:?}");
                let place = 3_000 + at as u64;
                assert!(fault.offset <= place && place - fault.offset < PAGE, "byte {at}: {fault:?}");
                bytes[at] ^= 1 << bit;
            }
        }
    }

    #[test]
    fn every_cut_and_every_missing_page_is_a_torn_write() {
        let (bytes, _) = block(9_000);
        for end in 0..bytes.len() {
            assert!(check(&bytes[..end], 1_000, 3_000).unwrap_err().torn, "cut at {end}");
        }
        let mut from = 0;
        for part in pages(3_000, bytes.len()) {
            let mut holed = bytes.clone();
            holed[from..from + part].fill(0);
            assert!(check(&holed, 1_000, 3_000).unwrap_err().torn, "page at {from}");
            from += part;
        }
    }
}
