//! A sorted, sparse vector of buckets: the common body of the series.
//!
//! Law: buckets ascend and are unique; a bucket at or before the cut is never added.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::{Array, SmallVec};

/// One bucket and what it holds.
pub trait Cell: Copy {
    /// What it holds, as it is written.
    type Content: Serialize + for<'de> Deserialize<'de>;

    /// A bucket that holds this.
    fn new(bucket: i32, content: Self::Content) -> Self;
    /// Which bucket.
    fn bucket(&self) -> i32;
    /// What it holds.
    fn content(&self) -> Self::Content;
}

/// Buckets, ascending. Written as distances between them, since most are 1: a count then takes two bytes.
pub struct Buckets<A: Array>(SmallVec<A>);

impl<A: Array> Default for Buckets<A> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<A: Array> Buckets<A>
where
    A::Item: Cell,
{
    /// All buckets, ascending.
    pub fn cells(&self) -> &[A::Item] {
        &self.0
    }

    /// The buckets after `cut`, newest first.
    pub fn newest_first(&self, cut: i32) -> impl Iterator<Item = &A::Item> {
        self.0.iter().rev().take_while(move |cell| cell.bucket() > cut)
    }

    /// The cell of a bucket, made by `empty` when it is not there yet; none when the bucket is not after `cut`.
    /// Drops the buckets that are not after `cut`.
    pub fn cell(
        &mut self,
        bucket: i32,
        cut: i32,
        empty: impl FnOnce() -> <A::Item as Cell>::Content,
    ) -> Option<&mut A::Item> {
        if bucket <= cut {
            return None;
        }
        self.expire(cut);
        let at = match self.0.last() {
            Some(last) if last.bucket() == bucket => self.0.len() - 1,
            Some(last) if last.bucket() > bucket => {
                match self.0.binary_search_by_key(&bucket, Cell::bucket) {
                    Ok(at) => at,
                    Err(at) => self.insert(at, A::Item::new(bucket, empty())),
                }
            }
            Some(_) | None => self.insert(self.0.len(), A::Item::new(bucket, empty())),
        };
        self.0.get_mut(at)
    }

    /// Puts cells in the place of `range`; the caller keeps the order.
    pub fn replace(&mut self, range: std::ops::Range<usize>, cell: A::Item) {
        match self.0.get_mut(range.start) {
            Some(first) if !range.is_empty() => {
                *first = cell;
                self.0.drain(range.start + 1..range.end);
            }
            Some(_) | None => {
                self.insert(range.start, cell);
            }
        }
    }

    /// Drops the buckets that are not after `cut`.
    pub fn expire(&mut self, cut: i32) {
        if self.0.first().is_some_and(|first| first.bucket() <= cut) {
            let expired = self.0.partition_point(|cell| cell.bucket() <= cut);
            self.0.drain(..expired);
        }
    }

    fn insert(&mut self, at: usize, cell: A::Item) -> usize {
        make_room(&mut self.0);
        self.0.insert(at, cell);
        at
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        heap_bytes(&self.0)
    }
}

/// Grows by a quarter rather than doubling: 100,000 users are held at once, and most series stay short.
pub(super) fn make_room<A: Array>(items: &mut SmallVec<A>) {
    if items.len() == items.capacity() {
        items.reserve_exact((items.len() / 4).max(2));
    }
}

pub(super) fn heap_bytes<A: Array>(items: &SmallVec<A>) -> usize {
    if items.spilled() { items.capacity() * size_of::<A::Item>() } else { 0 }
}

impl<A: Array> Clone for Buckets<A>
where
    A::Item: Clone,
{
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Array> PartialEq for Buckets<A>
where
    A::Item: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<A: Array> fmt::Debug for Buckets<A>
where
    A::Item: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<A: Array> Serialize for Buckets<A>
where
    A::Item: Cell,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        let mut before = 0_i32;
        for cell in &self.0 {
            sequence.serialize_element(&(cell.bucket().wrapping_sub(before), cell.content()))?;
            before = cell.bucket();
        }
        sequence.end()
    }
}

impl<'de, A: Array> Deserialize<'de> for Buckets<A>
where
    A::Item: Cell,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cells<A: Array>(std::marker::PhantomData<A>);

        impl<'de, A: Array> Visitor<'de> for Cells<A>
        where
            A::Item: Cell,
        {
            type Value = Buckets<A>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("buckets as distances and contents")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<Self::Value, S::Error> {
                let mut cells = SmallVec::new();
                // A count read from a file is a claim: at most this many are made room for unseen.
                cells.reserve_exact(sequence.size_hint().unwrap_or(0).min(4096));
                let mut bucket = 0_i32;
                while let Some((distance, content)) =
                    sequence.next_element::<(i32, <A::Item as Cell>::Content)>()?
                {
                    bucket = bucket.wrapping_add(distance);
                    cells.push(A::Item::new(bucket, content));
                }
                Ok(Buckets(cells))
            }
        }

        deserializer.deserialize_seq(Cells(std::marker::PhantomData))
    }
}
