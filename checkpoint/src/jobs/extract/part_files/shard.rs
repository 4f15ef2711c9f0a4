//! Which jobs of an extraction one of several workers does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

/// Shard `index` of `count`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// The most shards that an extraction has.
const MOST: usize = 1 << 16;

impl Shard {
    /// Shard `index`, from 1, of `count`; `None` where there is no such shard.
    pub fn new(index: usize, count: usize) -> Option<Self> {
        ((1..=count).contains(&index) && count <= MOST).then_some(Self { index, count })
    }

    /// Which one, from 1.
    pub fn index(self) -> usize {
        self.index
    }

    /// Of how many.
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether each of the jobs of so many bytes is in this shard. Every shard comes to the same division: the largest
    /// job first, each to the shard with the fewest so far.
    pub(super) fn of(self, sizes: &[u64]) -> Vec<bool> {
        let mut order: Vec<_> = (0..sizes.len()).collect();
        order.sort_by_key(|&job| Reverse(sizes[job]));
        let mut loads: BinaryHeap<_> = (1..=self.count).map(|shard| Reverse((0_u64, shard))).collect();
        let mut own = vec![false; sizes.len()];
        for job in order {
            let Some(Reverse((load, shard))) = loads.pop() else { break };
            own[job] = shard == self.index;
            loads.push(Reverse((load.saturating_add(sizes[job].max(1)), shard)));
        }
        own
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let shard = numbers.and_then(|(index, count)| Self::new(index, count));
        shard.ok_or_else(|| {
            format!("{text:?} is no shard, expected one as 3/8: the third of eight, of at most {MOST}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_in_one_shard_and_the_shards_are_alike() {
        let costs: Vec<u64> = (0..280).map(|job| 1000 + 37 * (job % 7)).collect();
        for count in [1, 2, 7, 64, 1000] {
            let shards: Vec<_> =
                (1..=count).map(|index| Shard::new(index, count).unwrap().of(&costs)).collect();
            for job in 0..costs.len() {
                assert_eq!(shards.iter().filter(|own| own[job]).count(), 1, "job {job} of {count} shards");
            }
            let load = |own: &Vec<bool>| -> u64 {
                own.iter().zip(&costs).filter(|(own, _)| **own).map(|(_, c)| c).sum()
            };
            let loads: Vec<_> = shards.iter().map(load).collect();
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            assert!(most - least <= *costs.iter().max().unwrap(), "{least} to {most} of {count} shards");
        }
    }

    #[test]
    fn texts_that_are_no_shard_are_refused() {
        assert_eq!("3/8".parse(), Ok(Shard { index: 3, count: 8 }));
        for text in ["0/8", "9/8", "3", "3/0", "a/b", "-1/2", "1/99999999"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
