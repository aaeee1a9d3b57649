//! Outputs that the threads of one job write together, each its own part.

#![expect(
    unsafe_code,
    reason = "one output is borrowed by several threads in disjoint pieces"
)]

use std::marker::PhantomData;
use std::ops::Range;

use super::Pool;

/// An output that the ranges of one job write in disjoint pieces.
pub(crate) struct Scatter<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the pieces are disjoint by the contract of `piece`, so sharing it shares no element.
unsafe impl<T: Send> Sync for Scatter<'_, T> {}

impl<'a, T> Scatter<'a, T> {
    pub(crate) fn new(out: &'a mut [T]) -> Self {
        Self {
            start: out.as_mut_ptr(),
            len: out.len(),
            borrow: PhantomData,
        }
    }

    /// The elements in `range`, to write.
    ///
    /// # Safety
    /// While the piece lives, no other piece that overlaps it may live, on any thread.
    #[expect(
        clippy::mut_from_ref,
        reason = "that is the purpose; the contract keeps the pieces disjoint"
    )]
    pub(crate) unsafe fn piece(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a piece outside its output"
        );
        // SAFETY: inside the borrowed slice by the check above, and unshared by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

impl Pool {
    /// Calls `work(first, piece)` for all of `out` in pieces of whole `unit`s, on all threads when there are at
    /// least `alone` elements, else on the caller's alone.
    pub(crate) fn pieces<T: Send>(
        &self,
        out: &mut [T],
        unit: usize,
        alone: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let len = out.len();
        if len < alone {
            return work(0, out);
        }
        let out = Scatter::new(out);
        self.run(len.div_ceil(unit), 1, |units| {
            let range = units.start * unit..len.min(units.end * unit);
            // SAFETY: units are disjoint ranges, and each is in one range of the job.
            work(range.start, unsafe { out.piece(range) });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_output_once_in_whole_units() {
        let pool = Pool::new(3);
        for (len, alone) in [(0, 1), (1, 1), (1000, 1), (1001, 1), (1001, 5000)] {
            let mut out = vec![0usize; len];
            pool.pieces(&mut out, 7, alone, |first, piece| {
                assert_eq!(first % 7, 0);
                piece
                    .iter_mut()
                    .enumerate()
                    .for_each(|(index, out)| *out += first + index + 1);
            });
            assert!(out.iter().copied().eq(1..=len));
        }
    }
}
