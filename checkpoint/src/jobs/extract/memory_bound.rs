//! What fits into a bound on memory: what is read ahead, the scratch of each thread, and how many threads.

use crate::jobs::extract::options::ExtractOptions;
use crate::source::read_ahead::MOST_AHEAD;

/// One in so many bytes of a bound on memory is for reading ahead; the others are for scratch.
const AHEAD_DIVISOR: usize = 4;

/// Bytes that are read ahead of the work.
pub(crate) fn ahead(options: &ExtractOptions) -> usize {
    options.memory.map_or(MOST_AHEAD, |memory| MOST_AHEAD.min(memory / AHEAD_DIVISOR))
}

/// The most bytes of scratch of one thread: the limit per thread, and at most what a bound on memory leaves beside reading ahead:
/// there are fewer threads before there is less scratch. The adapter depends on the bound only where one thread has too little.
pub(crate) fn scratch(options: &ExtractOptions) -> Option<usize> {
    let rest = options.memory.map(|memory| memory - ahead(options));
    match (options.scratch, rest) {
        (Some(scratch), Some(rest)) => Some(scratch.min(rest)),
        (scratch, rest) => scratch.or(rest),
    }
}

/// The bound that [`scratch`] follows from, for messages.
pub(crate) fn name_of_scratch(options: &ExtractOptions) -> &'static str {
    let is_limit = scratch(options) == options.scratch;
    if is_limit { "the scratch limit" } else { "the bound on memory, some of which is for reading ahead," }
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
        assert_eq!((ahead(&all), scratch(&all), threads(&all, || usize::MAX)), (MOST_AHEAD, Some(5), 8));
        let bound = options(Some(400), None);
        assert_eq!((ahead(&bound), scratch(&bound)), (100, Some(300)));
        for (need, expected) in [(10, 8), (100, 3), (300, 1), (301, 1)] {
            assert_eq!(threads(&bound, || need), expected, "{need}");
        }
        assert_eq!(scratch(&options(Some(400), Some(200))), Some(200));
        assert_eq!(name_of_scratch(&options(Some(400), Some(200))), "the scratch limit");
        for limit in [None, Some(350)] {
            assert!(name_of_scratch(&options(Some(400), limit)).starts_with("the bound on memory"));
        }
        assert!(ahead(&options(Some(usize::MAX), None)) == MOST_AHEAD);
    }
}
