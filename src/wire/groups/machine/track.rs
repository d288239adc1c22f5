//! How far a group has come: what it read, and what of it is settled.
//!
//! Law: the place told is one that was read, and everything up to it is settled. Used by the machine.

use std::collections::VecDeque;

use super::Place;

/// Places in the order in which they were read, from the first that is not settled.
#[derive(Debug, Default)]
pub(super) struct Track {
    open: VecDeque<(Place, bool)>,
    /// Number of the first of them.
    first: u64,
    /// How many are not settled.
    unsettled: usize,
    /// Everything up to here is settled.
    through: Option<Place>,
    /// The last place read.
    read: Option<Place>,
}

impl Track {
    pub(super) fn new(through: Option<Place>) -> Self {
        Self { through, read: through, ..Self::default() }
    }

    /// One was read; answers its number.
    pub(super) fn open(&mut self, place: Place) -> u64 {
        self.open.push_back((place, false));
        self.unsettled += 1;
        self.passed(place);
        self.first + self.open.len() as u64 - 1
    }

    /// Everything up to here was looked at.
    pub(super) fn passed(&mut self, place: Place) {
        self.read = self.read.max(Some(place));
        if self.open.is_empty() {
            self.through = self.read;
        }
    }

    /// One is settled; false when it was before.
    pub(super) fn settle(&mut self, number: u64) -> bool {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some((_, settled)) = at.and_then(|at| self.open.get_mut(at)).filter(|(_, settled)| !settled)
        else {
            return false;
        };
        *settled = true;
        self.unsettled -= 1;
        while let Some((place, _)) = self.open.pop_front_if(|(_, settled)| *settled) {
            self.first += 1;
            self.through = Some(place);
        }
        if self.open.is_empty() {
            self.through = self.read;
        }
        true
    }

    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// How many places are remembered.
    pub(super) fn length(&self) -> usize {
        self.open.len()
    }

    pub(super) fn read(&self) -> Option<Place> {
        self.read
    }

    pub(super) fn through(&self) -> Option<Place> {
        self.through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_as_far_as_all_is_settled_and_never_to_a_place_that_was_not_read() {
        let mut track = Track::new(Some(3));
        let numbers = [10, 20, 30].map(|place| track.open(place));
        track.passed(35);
        assert_eq!((track.through(), track.unsettled()), (Some(3), 3));
        assert!(track.settle(numbers[1]) && !track.settle(numbers[1]));
        assert_eq!(track.through(), Some(3), "10 is not settled");
        assert!(track.settle(numbers[0]));
        assert_eq!(track.through(), Some(20));
        assert!(!track.settle(numbers[0]) && !track.settle(99));
        assert!(track.settle(numbers[2]));
        assert_eq!((track.through(), track.length()), (Some(35), 0));
        track.passed(40);
        assert_eq!(track.through(), Some(40));
        let next = track.open(50);
        assert!(track.settle(next));
        assert_eq!(track.through(), Some(50));
    }
}
