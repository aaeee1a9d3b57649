//! Memory for weights, in huge pages where the system has them.
//!
//! A forward of few rows reads all weights once from end to end. In pages of 4 KiB that misses the processor's
//! table of pages every few hundred cycles and stops its prefetching at every page's end: 25 GB/s where the same
//! memory in pages of 2 MiB gave 34 (two Zen 4 cores of a virtual machine, whose page walks are nested). Matrices
//! are therefore laid side by side into regions that are whole huge pages; what of a region is never written takes
//! no memory.

#![expect(unsafe_code, reason = "a slice of memory that matrices share")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of a huge page, and what a region is aligned to.
const HUGE_PAGE: usize = 2 << 20;
/// Bytes of a region that several matrices share; a larger matrix gets its own.
const REGION: usize = 64 << 20;
/// What every slice begins at a multiple of: a line of the cache.
const LINE: usize = 64;

/// The region that has room left, and where that begins.
static OPEN: Mutex<(Weak<Region>, usize)> = Mutex::new((Weak::new(), 0));

/// A slice of `T` of fixed length.
#[derive(Debug)]
pub(crate) struct Storage<T> {
    start: NonNull<T>,
    len: usize,
    /// Keeps the memory.
    _region: Arc<Region>,
}

// SAFETY: it owns its part of the region as a `Box<[T]>` would.
unsafe impl<T: Send> Send for Storage<T> {}
// SAFETY: the same.
unsafe impl<T: Sync> Sync for Storage<T> {}

impl<T: Copy> Storage<T> {
    /// `len` times `value`.
    pub(crate) fn filled(value: T, len: usize) -> Self {
        const { assert!(align_of::<T>() <= LINE) };
        let bytes = len.saturating_mul(size_of::<T>()).next_multiple_of(LINE);
        let (region, offset) = Region::take(bytes);
        // SAFETY: `take` gives `bytes` bytes at a multiple of `LINE` inside the region, to this caller alone; all
        // `len` elements are written before anyone reads them.
        let start = unsafe {
            let start = region.start.add(offset).cast::<T>();
            (0..len).for_each(|index| start.add(index).write(value));
            start
        };
        Self {
            start,
            len,
            _region: region,
        }
    }
}

impl<T> Deref for Storage<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `filled` has written all elements, and the region lives as long as we do.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Storage<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the same, and no other slice of the region overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Whole huge pages, given back when the last of its slices is dropped.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the pointer is only where the memory begins; who may touch which part is the slices' business.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

impl Region {
    /// A region and the offset of `bytes` bytes in it that nobody else has.
    fn take(bytes: usize) -> (Arc<Self>, usize) {
        // The pair is never half written.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(region) = open.0.upgrade()
            && bytes <= region.layout.size() - open.1
        {
            let offset = open.1;
            open.1 += bytes;
            return (region, offset);
        }
        let region = Arc::new(Self::new(bytes.max(REGION)));
        *open = (Arc::downgrade(&region), bytes);
        (region, 0)
    }

    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, HUGE_PAGE)
            .expect("a matrix that no address space holds")
            .pad_to_align();
        // SAFETY: the layout is not empty.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        // A system without huge pages says so, and gives small ones.
        #[cfg(target_os = "linux")]
        // SAFETY: these pages are ours, and advice changes nothing that they hold.
        unsafe {
            libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE);
        }
        Self { start, layout }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_a_region_are_aligned_and_apart() {
        let mut slices: Vec<Storage<[u16; 3]>> = (0..20)
            .map(|index| Storage::filled([index; 3], 100_000 * usize::from(index) + 1))
            .collect();
        slices[3].fill([99; 3]);
        for (index, slice) in slices.iter().enumerate() {
            assert_eq!(slice.as_ptr() as usize % LINE, 0);
            assert_eq!(slice.len(), 100_000 * index + 1);
            let expected = if index == 3 { 99 } else { index as u16 };
            assert!(slice.iter().all(|element| *element == [expected; 3]));
        }
    }

    #[test]
    fn a_slice_larger_than_a_region_has_its_own() {
        let large = Storage::filled(7u8, REGION + 1);
        let small = Storage::filled(8u8, 3);
        assert!(large.iter().all(|&byte| byte == 7));
        assert_eq!(*small, [8; 3]);
    }
}
