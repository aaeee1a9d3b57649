//! How fast this machine reads memory: what a forward of one row can be held against.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::matrix::Storage;
use crate::pool::Pool;

/// How long the reading is repeated.
const REPEAT: Duration = Duration::from_millis(500);
/// Bytes of a range that a thread reads at least before it asks for the next.
const RANGE: usize = 256 << 10;

/// A line of the cache.
type Line = [u64; 8];

/// Gigabytes (10⁹ bytes) a second at which `threads` threads together read `bytes` bytes of the kind of memory that
/// weights stand in, doing nothing else: the median of half a second. The weights of a model are a fair size.
pub fn read_bandwidth(threads: usize, bytes: usize) -> f64 {
    let pool = Pool::new(threads);
    let lines = Storage::filled([1u64; 8], bytes.div_ceil(size_of::<Line>()));
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < REPEAT {
        let start = Instant::now();
        pool.run(lines.len(), RANGE / size_of::<Line>(), |range| {
            let mut sum: Line = [0; 8];
            for line in &lines[range] {
                for (sum, word) in sum.iter_mut().zip(line) {
                    *sum ^= word;
                }
            }
            black_box(sum);
        });
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    size_of_val(&*lines) as f64 / median.as_secs_f64() / 1e9
}
