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
struct Segment {
    end: u64,
    /// How many need it. What nobody needs any more is forgotten.
    holders: u32,
    state: State,
}

/// The bytes of a file by where they begin; what is in no segment is not here.
#[derive(Debug, Default)]
pub(super) struct Segments(BTreeMap<u64, Segment>);

impl Segments {
    /// Bytes that came by themselves, until somebody has needed them.
    pub(super) fn found(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.0.insert(range.start, Segment { end: range.end, holders: 0, state: State::Here });
        }
    }

    /// Notes that `range` is needed; gives the ranges that have to be fetched for it.
    pub(super) fn hold(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let (mut at, mut fetched) = (range.start, Vec::new());
        self.cut(range.start);
        self.cut(range.end);
        let known: Vec<_> =
            self.0.range(range.clone()).map(|(start, segment)| (*start, segment.end)).collect();
        for (start, end) in known {
            self.want(at..start, &mut fetched);
            if let Some(segment) = self.0.get_mut(&start) {
                segment.holders += 1;
                if matches!(segment.state, State::Failed(_)) {
                    segment.state = State::Wanted;
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
            self.0.insert(range.start, Segment { end: range.end, holders: 1, state: State::Wanted });
            fetched.push(range);
        }
    }

    /// Notes that one who needed `range` does not any more; gives what nobody needs.
    pub(super) fn release(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        self.cut(range.start);
        self.cut(range.end);
        let mut gone = Vec::new();
        for (start, segment) in self.0.range_mut(range) {
            segment.holders = segment.holders.saturating_sub(1);
            if segment.holders == 0 {
                gone.push(*start..segment.end);
            }
        }
        for range in &gone {
            self.0.remove(&range.start);
        }
        gone
    }

    /// Whether anybody waits for some of `range`.
    pub(super) fn is_wanted(&self, range: &Range<u64>) -> bool {
        self.within(range).any(|segment| segment.state == State::Wanted)
    }

    /// Notes that `range` was brought, or why it cannot be, or neither; gives the parts of it that nobody needs.
    pub(super) fn settle(&mut self, range: Range<u64>, result: Option<Result<(), &str>>) -> Vec<Range<u64>> {
        self.cut(range.start);
        self.cut(range.end);
        let (mut at, mut unneeded) = (range.start, Vec::new());
        for (start, segment) in self.0.range_mut(range.clone()) {
            if *start > at {
                unneeded.push(at..*start);
            }
            if let Some(result) = result.filter(|_| segment.state == State::Wanted) {
                segment.state = result.map_or_else(|why| State::Failed(why.to_owned()), |()| State::Here);
            }
            at = segment.end;
        }
        if at < range.end {
            unneeded.push(at..range.end);
        }
        unneeded
    }

    /// Whether all of `range` is here; `None` while some of it is on its way.
    pub(super) fn status(&self, range: &Range<u64>) -> Option<Result<(), String>> {
        let mut waits = false;
        for segment in self.within(range) {
            match &segment.state {
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
        for segment in self.within(range) {
            if segment.state != State::Here || segment.holders == 0 {
                return false;
            }
            at = at.max(segment.end);
        }
        at >= range.end && (range.is_empty() || self.covers(range))
    }

    /// Whether the segments leave no gap in `range`.
    fn covers(&self, range: &Range<u64>) -> bool {
        let first = self.0.range(..=range.start).next_back().map(|(start, _)| *start);
        let mut at = range.start;
        for (start, segment) in self.0.range(first.unwrap_or(range.start)..range.end) {
            if *start > at {
                return false;
            }
            at = at.max(segment.end);
        }
        at >= range.end
    }

    /// Whether some of `range` is known, whatever its state.
    pub(super) fn touches(&self, range: &Range<u64>) -> bool {
        self.within(range).next().is_some()
    }

    /// The segments that overlap with `range`.
    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = &Segment> {
        let before = self.0.range(..range.start).next_back().map(|(_, segment)| segment);
        let before = before.filter(|segment| segment.end > range.start && !range.is_empty());
        before.into_iter().chain(self.0.range(range.clone()).map(|(_, segment)| segment))
    }

    /// Makes a segment begin at `at`, where one covers it.
    fn cut(&mut self, at: u64) {
        let Some((_, segment)) = self.0.range_mut(..at).next_back() else { return };
        if segment.end > at {
            let rest = segment.clone();
            segment.end = at;
            self.0.insert(at, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_fetched_once_and_forgotten_after_its_last_use() {
        let mut segments = Segments::default();
        segments.found(0..10);
        assert_eq!(segments.hold(5..30), vec![10..30; 1]);
        assert_eq!(segments.hold(20..40), vec![30..40; 1]);
        assert_eq!(segments.status(&(5..30)), None);
        assert!(segments.settle(10..20, Some(Ok(()))).is_empty());
        assert!(segments.is_held(&(5..20)) && !segments.is_held(&(5..21)) && !segments.is_held(&(0..20)));
        assert!(segments.settle(20..40, Some(Ok(()))).is_empty());
        assert_eq!(segments.status(&(5..40)), Some(Ok(())));
        assert_eq!(segments.release(5..30), [5..10, 10..20]);
        assert!(segments.is_held(&(20..40)) && segments.touches(&(0..5)) && !segments.touches(&(5..20)));
        assert_eq!(segments.release(20..40), [20..30, 30..40]);
        assert!(!segments.is_held(&(20..40)));
    }

    #[test]
    fn what_failed_is_tried_again_for_the_next_who_needs_it() {
        let mut segments = Segments::default();
        assert_eq!(segments.hold(0..8), vec![0..8; 1]);
        segments.settle(0..8, Some(Err("gone")));
        assert_eq!(segments.status(&(2..4)), Some(Err("gone".to_owned())));
        assert_eq!(segments.hold(0..4), vec![0..4; 1]);
        assert!(segments.is_wanted(&(0..8)) && !segments.is_wanted(&(4..8)));
    }

    #[test]
    fn what_comes_too_late_is_not_kept() {
        let mut segments = Segments::default();
        segments.hold(0..8);
        segments.hold(4..6);
        segments.release(0..8);
        assert_eq!(segments.settle(0..8, Some(Ok(()))), [0..4, 6..8]);
        assert!(segments.is_held(&(4..6)) && !segments.is_held(&(4..8)) && !segments.is_held(&(3..6)));
    }
}
