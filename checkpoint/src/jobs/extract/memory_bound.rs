//! What fits into a bound on memory: what is read ahead, the scratch of each thread, and how many threads.

use crate::jobs::extract::options::ExtractOptions;
use crate::source::read_ahead::AHEAD;

/// The memory is so many times what may be read ahead.
const TIMES: usize = 4;

/// Bytes that are read ahead of the work.
pub(crate) fn ahead(options: &ExtractOptions) -> usize {
    options.memory.map_or(AHEAD, |memory| AHEAD.min(memory / TIMES))
}

/// The most that one thread may take. With a bound on all memory one thread may use all that is not read
/// ahead. The adapter depends on the bound only where that is too little for one thread.
pub(crate) fn scratch(options: &ExtractOptions) -> Option<usize> {
    let rest = options.memory.map(|memory| memory - ahead(options));
    match (options.scratch, rest) {
        (Some(scratch), Some(rest)) => Some(scratch.min(rest)),
        (scratch, rest) => scratch.or(rest),
    }
}

/// Threads of which each takes at most `need` bytes, which is asked for where there is a bound.
pub(crate) fn threads(options: &ExtractOptions, need: impl FnOnce() -> usize) -> usize {
    let most = options.threads.get();
    options.memory.map_or(most, |memory| ((memory - ahead(options)) / need().max(1)).clamp(1, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(memory: Option<usize>, scratch: Option<usize>) -> ExtractOptions {
        let threads = 8.try_into().unwrap();
        ExtractOptions { scratch, memory, threads, ..ExtractOptions::default() }
    }

    #[test]
    fn fewer_threads_before_less_scratch() {
        let all = options(None, Some(5));
        assert_eq!((ahead(&all), scratch(&all), threads(&all, || usize::MAX)), (AHEAD, Some(5), 8));
        let bound = options(Some(400), None);
        assert_eq!((ahead(&bound), scratch(&bound)), (100, Some(300)));
        for (need, expected) in [(10, 8), (100, 3), (300, 1), (301, 1)] {
            assert_eq!(threads(&bound, || need), expected, "{need}");
        }
        assert_eq!(scratch(&options(Some(400), Some(200))), Some(200));
        assert!(ahead(&options(Some(usize::MAX), None)) == AHEAD);
    }
}
