//! Which bytes of a file are here, which are on their way, and who needs them.

use std::collections::BTreeMap;
use std::ops::Range;

/// The state of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Asked for.
    Wanted,
    Here,
    /// They cannot be had, and why.
    Failed(String),
}

#[derive(Debug, Clone)]
struct Interval {
    end: u64,
    /// How many need it. What nobody needs any more is forgotten.
    holders: u32,
    state: State,
}

/// The bytes of a file by where they begin; what is in no interval is not here.
#[derive(Debug, Default)]
pub(super) struct Intervals(BTreeMap<u64, Interval>);

impl Intervals {
    /// Bytes that came by themselves, until somebody has needed them.
    pub(super) fn found(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.0.insert(range.start, Interval { end: range.end, holders: 0, state: State::Here });
        }
    }

    /// Notes that `range` is needed; gives the ranges that have to be fetched for it.
    pub(super) fn hold(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let (mut at, mut fetched) = (range.start, Vec::new());
        self.cut(range.start);
        self.cut(range.end);
        let known: Vec<_> =
            self.0.range(range.clone()).map(|(start, interval)| (*start, interval.end)).collect();
        for (start, end) in known {
            self.want(at..start, &mut fetched);
            if let Some(interval) = self.0.get_mut(&start) {
                interval.holders += 1;
                if matches!(interval.state, State::Failed(_)) {
                    interval.state = State::Wanted;
                    fetched.push(start..end);
                }
            }
            at = end;
        }
        self.want(at..range.end, &mut fetched);
        fetched
    }

    fn want(&mut self, range: Range<u64>, fetched: &mut Vec<Range<u64>>) {
        if !range.is_empty() {
            self.0.insert(range.start, Interval { end: range.end, holders: 1, state: State::Wanted });
            fetched.push(range);
        }
    }

    /// Notes that one who needed `range` does not any more; gives what nobody needs.
    pub(super) fn release(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        self.cut(range.start);
        self.cut(range.end);
        let mut gone = Vec::new();
        for (start, interval) in self.0.range_mut(range) {
            interval.holders = interval.holders.saturating_sub(1);
            if interval.holders == 0 {
                gone.push(*start..interval.end);
            }
        }
        for range in &gone {
            self.0.remove(&range.start);
        }
        gone
    }

    /// Whether anybody waits for some of `range`.
    pub(super) fn is_wanted(&self, range: &Range<u64>) -> bool {
        self.within(range).any(|interval| interval.state == State::Wanted)
    }

    /// Notes that `range` was brought, or why it cannot be, or neither; gives what of it nobody needs.
    pub(super) fn settle(&mut self, range: Range<u64>, result: Option<Result<(), &str>>) -> Vec<Range<u64>> {
        self.cut(range.start);
        self.cut(range.end);
        let (mut at, mut unneeded) = (range.start, Vec::new());
        for (start, interval) in self.0.range_mut(range.clone()) {
            if *start > at {
                unneeded.push(at..*start);
            }
            if let Some(result) = result.filter(|_| interval.state == State::Wanted) {
                interval.state = result.map_or_else(|why| State::Failed(why.to_owned()), |()| State::Here);
            }
            at = interval.end;
        }
        if at < range.end {
            unneeded.push(at..range.end);
        }
        unneeded
    }

    /// Whether all of `range` is here; `None` while some of it is on its way.
    pub(super) fn status(&self, range: &Range<u64>) -> Option<Result<(), String>> {
        let mut waits = false;
        for interval in self.within(range) {
            match &interval.state {
                State::Failed(why) => return Some(Err(why.clone())),
                State::Wanted => waits = true,
                State::Here => {}
            }
        }
        (!waits).then_some(Ok(()))
    }

    /// Whether somebody holds all of `range`, and all of it is here.
    pub(super) fn is_held(&self, range: &Range<u64>) -> bool {
        let mut at = range.start;
        for interval in self.within(range) {
            if interval.state != State::Here || interval.holders == 0 {
                return false;
            }
            at = at.max(interval.end);
        }
        at >= range.end && (range.is_empty() || self.covers(range))
    }

    /// Whether the intervals leave no gap in `range`.
    fn covers(&self, range: &Range<u64>) -> bool {
        let first = self.0.range(..=range.start).next_back().map(|(start, _)| *start);
        let mut at = range.start;
        for (start, interval) in self.0.range(first.unwrap_or(range.start)..range.end) {
            if *start > at {
                return false;
            }
            at = at.max(interval.end);
        }
        at >= range.end
    }

    /// Whether some of `range` is known, whatever its state.
    pub(super) fn touches(&self, range: &Range<u64>) -> bool {
        self.within(range).next().is_some()
    }

    /// The intervals that overlap with `range`.
    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = &Interval> {
        let before = self.0.range(..range.start).next_back().map(|(_, interval)| interval);
        let before = before.filter(|interval| interval.end > range.start && !range.is_empty());
        before.into_iter().chain(self.0.range(range.clone()).map(|(_, interval)| interval))
    }

    /// Makes an interval begin at `at`, where one covers it.
    fn cut(&mut self, at: u64) {
        let Some((_, interval)) = self.0.range_mut(..at).next_back() else { return };
        if interval.end > at {
            let rest = interval.clone();
            interval.end = at;
            self.0.insert(at, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_fetched_once_and_forgotten_after_its_last_use() {
        let mut intervals = Intervals::default();
        intervals.found(0..10);
        assert_eq!(intervals.hold(5..30), vec![10..30; 1]);
        assert_eq!(intervals.hold(20..40), vec![30..40; 1]);
        assert_eq!(intervals.status(&(5..30)), None);
        assert!(intervals.settle(10..20, Some(Ok(()))).is_empty());
        assert!(intervals.is_held(&(5..20)) && !intervals.is_held(&(5..21)) && !intervals.is_held(&(0..20)));
        assert!(intervals.settle(20..40, Some(Ok(()))).is_empty());
        assert_eq!(intervals.status(&(5..40)), Some(Ok(())));
        assert_eq!(intervals.release(5..30), [5..10, 10..20]);
        assert!(intervals.is_held(&(20..40)) && intervals.touches(&(0..5)) && !intervals.touches(&(5..20)));
        assert_eq!(intervals.release(20..40), [20..30, 30..40]);
        assert!(!intervals.is_held(&(20..40)));
    }

    #[test]
    fn what_failed_is_tried_again_for_the_next_who_needs_it() {
        let mut intervals = Intervals::default();
        assert_eq!(intervals.hold(0..8), vec![0..8; 1]);
        intervals.settle(0..8, Some(Err("gone")));
        assert_eq!(intervals.status(&(2..4)), Some(Err("gone".to_owned())));
        assert_eq!(intervals.hold(0..4), vec![0..4; 1]);
        assert!(intervals.is_wanted(&(0..8)) && !intervals.is_wanted(&(4..8)));
    }

    #[test]
    fn what_comes_too_late_is_not_kept() {
        let mut intervals = Intervals::default();
        intervals.hold(0..8);
        intervals.hold(4..6);
        intervals.release(0..8);
        assert_eq!(intervals.settle(0..8, Some(Ok(()))), [0..4, 6..8]);
        assert!(intervals.is_held(&(4..6)) && !intervals.is_held(&(4..8)) && !intervals.is_held(&(3..6)));
    }
}
