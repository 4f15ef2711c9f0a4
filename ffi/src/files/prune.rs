//! phlora_prune_files.

use super::call::{Failure, Named, ProgressCallback, job, path, share, watched};
use super::module::{ModuleCallback, tell};
use super::ranks::Ranks;
use super::values::factors;
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{Adapter, AdapterFormat, Goal, Policy, Rule, available_threads, prune};
use std::num::NonZeroUsize;

/// Options of phlora_prune_files: zeros but for struct_size, then what differs. How ranks are chosen is said as in
/// phlora_file_options; energies are shares of the adapter's own products B·A.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PruneOptions {
    /// sizeof(phlora_prune_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// Told of each module.
    pub module: ModuleCallback,
    /// What both of them get.
    pub user: *mut c_void,
    /// Threads; default: one per processor. The adapter does not depend on it.
    pub threads: usize,
    /// One rank for all modules. Default, where nothing else says how ranks are chosen: 32.
    pub rank: usize,
    /// No rank above this, where ranks are chosen.
    pub max_rank: usize,
    /// Ranks in multiples of this.
    pub multiple: usize,
    /// Per module the smallest rank that keeps this share.
    pub energy: f64,
    /// As few bytes as keep this share of all modules together, in the order of a budget.
    pub total_energy: f64,
    /// Per module the directions whose singular value is above the largest divided by this: sv_ratio of kohya's resize tool.
    pub sv_ratio: f64,
    /// Per module the smallest rank that keeps this share of ‖B·A‖: sv_fro of that tool; `energy` with its square.
    pub sv_fro: f64,
    /// Per module the smallest rank that keeps this share of the sum of singular values: sv_cumulative of that tool.
    pub sv_cumulative: f64,
    /// Per module the directions whose singular value is above this: sv-epsilon of mergekit-extract-lora.
    pub sv_epsilon: f64,
    /// Drop modules that hold less than this share of the whole adapter's energy, with what is added to their biases.
    pub drop_below: f64,
    /// Most bytes of the adapter's files.
    pub budget: u64,
    /// The phlora_criterion that `budget` and `total_energy` go by.
    pub criterion: u32,
    /// 1: per module the directions that stand out of its noise.
    pub noise_floor: u32,
    /// 1: one rank for all modules, also where they need different ones.
    pub uniform: u32,
    /// The phlora_dtype of the factors. Default: as they are.
    pub dtype: u32,
    /// 1: replace an adapter that is there already.
    pub force: u32,
    /// Largest rank of convolutions whose kernel is more than 1 wide, where it is another than that of the others.
    pub conv_rank: u32,
}

/// What phlora_prune_files wrote.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Pruned {
    /// Size of what was written.
    pub struct_size: usize,
    /// Largest rank of a module.
    pub rank: usize,
    /// Modules that are left.
    pub modules: u64,
    /// Modules that were dropped.
    pub dropped: u64,
    /// Kept share of the energy of all modules.
    pub energy: f64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl SizedStruct for PruneOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        module: None,
        user: ptr::null_mut(),
        threads: 0,
        rank: 0,
        max_rank: 0,
        multiple: 0,
        energy: 0.0,
        total_energy: 0.0,
        sv_ratio: 0.0,
        sv_fro: 0.0,
        sv_cumulative: 0.0,
        sv_epsilon: 0.0,
        drop_below: 0.0,
        budget: 0,
        criterion: 0,
        noise_floor: 0,
        uniform: 0,
        dtype: 0,
        force: 0,
        conv_rank: 0,
    };
}

impl SizedStruct for Pruned {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), rank: 0, modules: 0, dropped: 0, energy: 0.0, bytes: 0 };
}

impl PruneOptions {
    /// How ranks are chosen: the policy, and a rule by singular values, if there is one.
    fn choice(&self) -> Result<(Policy, Option<Rule>), Failure> {
        let ranks = Ranks {
            rank: self.rank,
            several: &[],
            energy: self.energy,
            total_energy: self.total_energy,
            budget: self.budget,
            noise_floor: self.noise_floor,
            max_rank: self.max_rank,
            multiple: self.multiple,
            uniform: self.uniform,
            criterion: self.criterion,
        };
        let (mut policy, _) = ranks.policy()?;
        let rules = [
            positive("sv_ratio", self.sv_ratio)?.map(Rule::Ratio),
            share_or_none("sv_fro", self.sv_fro)?.map(Rule::Frobenius),
            share_or_none("sv_cumulative", self.sv_cumulative)?.map(Rule::Cumulative),
            positive("sv_epsilon", self.sv_epsilon)?.map(Rule::Above),
        ];
        let mut rules = rules.into_iter().flatten();
        let rule = rules.next();
        let has_goal = policy.goal != Goal::Fixed || self.rank > 0;
        if rules.next().is_some() || (rule.is_some() && has_goal) {
            let names = "rank, energy, total_energy, budget, noise_floor, sv_ratio, sv_fro, sv_cumulative, sv_epsilon";
            return Err(Failure::option(names, "at most one of them"));
        }
        if self.conv_rank > 0 && self.budget > 0 {
            return Err(Failure::option("conv_rank", "a budget chooses the ranks of convolutions itself"));
        }
        if rule.is_some() || self.conv_rank > 0 {
            policy.uniform = self.uniform != 0;
        }
        if rule.is_some() {
            policy.max_rank = if self.max_rank > 0 { self.max_rank } else { usize::MAX };
        }
        Ok((policy, rule))
    }
}

/// A number above 0; `None`: 0, nothing is asked for.
fn positive(name: &str, value: f64) -> Result<Option<f64>, Failure> {
    match value {
        0.0 => Ok(None),
        _ if value > 0.0 && value.is_finite() => Ok(Some(value)),
        _ => Err(Failure::option(name, "expected a number above 0")),
    }
}

/// A share from 0 to 1; `None`: 0, nothing is asked for.
fn share_or_none(name: &str, value: f64) -> Result<Option<f64>, Failure> {
    if value == 0.0 { Ok(None) } else { share(name, value, 0.0).map(Some) }
}

/// Writes any LoRA adapter at smaller ranks, without its base: `phlora prune ADAPTER -o OUTPUT`. Allocates and starts
/// threads.
///
/// - `adapter`: a PEFT directory, or a file of GGUF, kohya, ComfyUI or phlora's own.
/// - `output`: what to create, in the file format of `adapter`, or phlora's own where its name ends in `.phlora`.
/// - `options`: see phlora_prune_options; NULL: all defaults.
/// - `pruned`, `pruned_size`: written on success; sizeof(phlora_pruned).
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION, IO, FORMAT,
/// EXISTS, CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_prune_files(
    adapter: In<c_char>,
    output: In<c_char>,
    options: In<PruneOptions>,
    pruned: Out<Pruned>,
    pruned_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(pruned, pruned_size).of("pruned")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let (adapter, output) = (path(guard, "adapter", adapter)?, path(guard, "output", output)?);
        let mut checked = phlora::PruneOptions::default();
        (checked.policy, checked.rule) = asked.choice()?;
        checked.conv_rank = (asked.conv_rank > 0).then_some(asked.conv_rank as usize);
        if !(0.0..=1.0).contains(&asked.drop_below) {
            return Err(Failure::option("drop_below", "expected a share from 0 to 1"));
        }
        checked.drop_below = asked.drop_below;
        checked.force = asked.force != 0;
        checked.threads = NonZeroUsize::new(asked.threads).unwrap_or_else(available_threads);
        let adapter = Adapter::open(&adapter)?;
        let is_compact = AdapterFormat::of_path(&output) == AdapterFormat::Phlora;
        checked.format = if is_compact { AdapterFormat::Phlora } else { adapter.format() };
        checked.dtype = factors(asked.dtype, checked.format)?;
        let found =
            watched(asked.progress, asked.user, |monitor| prune(&adapter, &output, &checked, monitor))?;
        tell(asked.module, asked.user, &found.modules);
        let ranks = || found.modules.iter().map(|module| module.rank);
        let left = ranks().filter(|&rank| rank > 0).count();
        slot.write(Pruned {
            struct_size: pruned_size.min(size_of::<Pruned>()),
            rank: ranks().max().unwrap_or(0),
            modules: left as u64,
            dropped: (found.modules.len() - left) as u64,
            energy: found.energy,
            bytes: found.bytes,
        });
        Ok(String::new())
    })
}
