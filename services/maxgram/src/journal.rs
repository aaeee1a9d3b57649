//! What each append changed, so that a text can be cut back.
//!
//! A context often ends in drafted tokens that a review then rejects. Undoing them costs what appending them did; the
//! alternatives lose more: an index without the tail misses the best matches (those of the last tokens), one that keeps
//! rejected tokens proposes them again.

/// A field of the automaton and its value before; new states and edges need no entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// An edge was counted once more; its state's best edge was `best`.
    Count { edge: u32, best: u32 },
    /// An edge led to another state.
    Target { edge: u32, target: u32 },
    /// A state had another suffix link.
    Link { state: u32, link: u32 },
}

/// The sizes of the automaton before an append.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opened {
    pub(crate) states: usize,
    pub(crate) edges: usize,
    pub(crate) last: u32,
    changes: usize,
}

/// The changes of all appends, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Journal {
    appends: Vec<Opened>,
    changes: Vec<Change>,
}

impl Journal {
    /// Starts the entry of one append.
    pub(crate) fn open(&mut self, states: usize, edges: usize, last: u32) {
        self.appends.push(Opened {
            states,
            edges,
            last,
            changes: self.changes.len(),
        });
    }

    /// Adds to the entry of the last append.
    pub(crate) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Takes the last append's entry out; `None` when there is none left.
    pub(crate) fn close(
        &mut self,
    ) -> Option<(Opened, impl DoubleEndedIterator<Item = Change> + use<>)> {
        let opened = self.appends.pop()?;
        let changes = self.changes.split_off(opened.changes);
        Some((opened, changes.into_iter()))
    }

    /// Bytes of memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.appends.capacity() * size_of::<Opened>()
            + self.changes.capacity() * size_of::<Change>()
    }
}
