//! How ranks are chosen: the same fields in the options of several jobs.

use super::call::{Failure, share};
use super::values::criterion;
use phlora::{Goal, Policy};

/// Those fields.
#[derive(Debug, Default)]
pub struct Ranks<'c> {
    pub rank: usize,
    pub several: &'c [usize],
    pub energy: f64,
    pub total_energy: f64,
    pub budget: u64,
    pub noise_floor: u32,
    pub max_rank: usize,
    pub multiple: usize,
    pub uniform: u32,
    pub criterion: u32,
}

impl Ranks<'_> {
    /// The policy, and the ranks where there are several.
    pub fn policy(&self) -> Result<(Policy, &[usize]), Failure> {
        let is_fixed = self.rank > 0 || !self.several.is_empty();
        let asked = [
            self.rank > 0,
            !self.several.is_empty(),
            self.energy != 0.0,
            self.total_energy != 0.0,
            self.budget > 0,
            self.noise_floor != 0,
        ];
        if asked.into_iter().filter(|&asked| asked).count() > 1 {
            let names = "rank, ranks, energy, total_energy, budget, noise_floor";
            return Err(Failure::option(names, "at most one of them"));
        }
        if self.several.contains(&0) {
            return Err(Failure::option("ranks", "a rank is at least 1"));
        }
        if is_fixed && self.max_rank > 0 {
            return Err(Failure::option("max_rank", "the rank is given"));
        }
        let by = criterion(self.criterion)?;
        if self.criterion != 0 && self.budget == 0 && self.total_energy == 0.0 {
            return Err(Failure::option("criterion", "only a budget and a total_energy go by it"));
        }
        let goal = match self {
            Self { budget: 1.., .. } => Goal::Budget(self.budget),
            Self { noise_floor: 1.., .. } => Goal::NoiseFloor,
            _ if self.energy != 0.0 => Goal::Energy(share("energy", self.energy, 0.0)?),
            _ if self.total_energy != 0.0 => {
                Goal::TotalEnergy(share("total_energy", self.total_energy, 0.0)?)
            }
            _ => Goal::Fixed,
        };
        let given = [self.rank, self.max_rank].into_iter().chain(self.several.iter().copied()).max();
        let given = given.filter(|&rank| rank > 0);
        let default = if goal == Goal::Fixed { Policy::default().max_rank } else { usize::MAX };
        let policy = Policy {
            goal,
            max_rank: given.unwrap_or(default),
            multiple: self.multiple.max(1),
            allowed: &[],
            uniform: self.uniform != 0 || goal == Goal::Fixed,
            by,
        };
        Ok((policy, if self.several.len() > 1 { self.several } else { &[] }))
    }
}
