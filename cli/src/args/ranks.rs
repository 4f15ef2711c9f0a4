//! How ranks are chosen.

use super::ByArg;
use super::heading::MUCH;
use super::units::{energy, rank, size};
use clap::Args;
use phlora::{Goal, Policy};

/// How ranks are chosen.
#[derive(Debug, Args)]
pub struct RankArgs {
    /// One rank for all modules [default: 32]; several, as in 8,16,32, write an adapter each
    #[arg(short, long, alias = "lora-rank", value_name = "R", value_delimiter = ',', value_parser = rank, group = "goal", help_heading = MUCH)]
    pub rank: Vec<usize>,
    /// Per module the smallest rank that keeps this share of its ‖Δ‖², from 0 to 1 or in per cent, as in 90%
    #[arg(long, value_name = "E", value_parser = energy, group = "goal", help_heading = MUCH)]
    pub energy: Option<f64>,
    /// As few bytes as keep this share of the ‖Δ‖² of all modules together, taken in the order of a budget, see --by: a module
    /// may keep less, or get no factors
    #[arg(long, value_name = "E", value_parser = energy, group = "goal", help_heading = MUCH)]
    pub total_energy: Option<f64>,
    /// The most over all modules, see --by, in files of this size, as in 20MB; the model card of a directory, README.md, is not
    /// counted
    #[arg(long, alias = "size", value_name = "SIZE", value_parser = size, group = "goal", help_heading = MUCH)]
    pub budget: Option<usize>,
    /// With --budget and --total-energy: by what directions are worth more than others
    #[arg(long, value_enum, default_value_t = ByArg::Relative, conflicts_with_all = ["rank", "energy", "noise_floor"], help_heading = MUCH)]
    pub by: ByArg,
    /// Per module the directions that stand out of its noise
    #[arg(long, group = "goal", help_heading = MUCH)]
    pub noise_floor: bool,
    /// No rank above this
    #[arg(long, value_name = "R", value_parser = rank, conflicts_with = "rank", help_heading = MUCH)]
    pub max_rank: Option<usize>,
    /// One rank for all modules, also where they need different ones
    #[arg(long, help_heading = MUCH)]
    pub uniform: bool,
    /// Ranks in multiples of this
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = rank, help_heading = MUCH)]
    pub multiple: usize,
}

impl RankArgs {
    /// Whether ranks follow from all modules together.
    pub fn shares_out(&self) -> bool {
        self.policy().0.goal.limit().is_some()
    }

    /// The policy, and the ranks of the adapters where there are several.
    pub fn policy(&self) -> (Policy, &[usize]) {
        let goal = match (self.energy, self.total_energy, self.budget) {
            (Some(share), ..) => Goal::Energy(share),
            (_, Some(share), _) => Goal::TotalEnergy(share),
            (.., Some(bytes)) => Goal::Budget(bytes as u64),
            _ if self.noise_floor => Goal::NoiseFloor,
            _ => Goal::Fixed,
        };
        let fixed = goal == Goal::Fixed;
        let given = self.rank.iter().copied().max().or(self.max_rank);
        let policy = Policy {
            goal,
            max_rank: given.unwrap_or(if fixed { Policy::default().max_rank } else { usize::MAX }),
            multiple: self.multiple,
            allowed: &[],
            uniform: self.uniform || fixed,
            by: self.by.into(),
        };
        (policy, if self.rank.len() > 1 { &self.rank } else { &[] })
    }
}
