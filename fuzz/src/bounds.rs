//! The memory and the time that reading a file may take, measured.

use rustix::time::{ClockId, clock_gettime};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Heap beyond that of the file, and how often the file may be held.
const MOST_BYTES: usize = 64 << 20;
const MOST_BYTES_PER_BYTE: usize = 10;

/// Seconds of processor time for each MiB begun.
const MOST_SECONDS: f64 = 5.0;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
pub struct Counting;

fn grown(bytes: usize) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    MOST_HELD.fetch_max(held, Relaxed);
}

// SAFETY: all calls go to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Runs `work` on a file of `bytes` and holds it to the bounds.
///
/// # Panics
/// When it takes more.
pub fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD.load(Relaxed);
    MOST_HELD.store(before, Relaxed);
    let start = seconds();
    let done = work();
    let (took, held) = (seconds() - start, MOST_HELD.load(Relaxed).saturating_sub(before));
    let most = MOST_BYTES + MOST_BYTES_PER_BYTE * bytes;
    assert!(held <= most, "{held} bytes of heap for a file of {bytes}");
    assert!(took <= MOST_SECONDS * bytes.div_ceil(1 << 20).max(1) as f64, "{took} s for a file of {bytes} bytes");
    done
}

/// Processor time of all threads.
fn seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}
