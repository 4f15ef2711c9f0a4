//! The result of an extraction: an adapter in memory and its report.

use crate::adapter::provenance;
use crate::adapter::{AdapterFormat, Factor, Lora, LoraModule, Naming, OUT_PROJ, Target};
use crate::error::Result;
use crate::jobs::extract::card::Card;
use crate::jobs::extract::full::Full;
use crate::jobs::extract::module::Module;
use crate::jobs::extract::renaming::Renaming;
use crate::naming::spelling::Spelling;
use crate::report::{
    LeftOut, ModuleReport, Note, Origin, PolicyReport, REPORT_VERSION, Report, Total, energy_by_bytes,
};
use phlora_core::{Dtype, Policy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// ‖Δ‖/‖W‖ above which two models are hardly a pair: weights that have nothing to do with each other have about 1.4.
const IMPLAUSIBLE: f64 = 0.9;

/// An adapter in memory, ready to be saved, and what is to be reported about it.
#[derive(Debug)]
pub struct Extraction {
    pub(crate) modules: Vec<Module>,
    /// What is stored beside their factors.
    pub(crate) full: Vec<Arc<Full>>,
    /// Modules with factors whose bias could not be changed, since there is none, while those of others are.
    pub(crate) without_bias: usize,
    /// How the models were paired.
    pub(crate) notes: Vec<Note>,
    pub(crate) left_out: Vec<LeftOut>,
    /// Which models it is of.
    pub(crate) origin: Origin,
    /// Modules that get factors of zeros, with [out, in] of their weights.
    pub(crate) empty: Vec<(String, [usize; 2])>,
    pub(crate) format: AdapterFormat,
    /// How the modules are called in the adapter.
    pub(crate) names: Renaming,
    /// Experts of a layer; 0: not known.
    pub(crate) experts: usize,
    pub(crate) targets: Vec<String>,
    pub(crate) base_name: String,
    /// What the fine-tuned model is called.
    pub(crate) tuned_name: String,
    /// As [`Lora::architecture`].
    pub(crate) architecture: Option<String>,
    pub(crate) naming: Naming,
    pub(crate) spelling: Spelling,
    /// PEFT's task type.
    pub(crate) task: Option<&'static str>,
    /// As [`Lora::class`].
    pub(crate) class: Option<&'static str>,
    pub(crate) policy: Policy,
    /// What the file says of the policy, where that is not its name.
    pub(crate) said: Option<String>,
    pub(crate) dtype: Dtype,
    pub(crate) started: Instant,
    pub(crate) bytes_in: u64,
}

impl Extraction {
    /// The adapter's rank: the largest of its modules' ranks. Where the policy is uniform the others are padded
    /// to it with zeros.
    pub fn rank(&self) -> usize {
        self.modules.iter().map(|module| module.report.rank).max().unwrap_or(0)
    }

    /// What is to be known before it is used.
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = self.notes.clone();
        notes.extend(self.implausible().map(Note::Text));
        notes.extend(self.oversized().map(Note::Text));
        if self.without_bias > 0 {
            notes.push(Note::Text(format!(
                "PEFT runs this adapter but does not merge it: {} of its modules have no bias to merge one into; phlora \
                 merge does",
                self.without_bias
            )));
        }
        let halved = |module: &&Module| module.target == Target::Attention && module.path.ends_with(OUT_PROJ);
        let halved = self.modules.iter().filter(halved).count();
        if halved > 0 {
            notes.push(Note::Text(format!(
                "{halved} output projections of torch's attention are stored at half, since PEFT as far as 0.21.2 adds them \
                 twice (its pull request 3774): a PEFT that adds them once applies half of them"
            )));
        }
        notes
    }

    /// Says so where the factors have more weights than what they change. A plan has none.
    fn oversized(&self) -> Option<String> {
        let Total { parameters_in, parameters_out, .. } = self.total();
        let has_factors = self.modules.iter().any(|module| module.factors.is_some());
        (has_factors && parameters_out > parameters_in).then(|| {
            format!(
                "the factors have {parameters_out} weights, more than the {parameters_in} of the modules that they change: at \
                 this rank the adapter is larger than what it changes"
            )
        })
    }

    /// Says so where the two models differ more than fine-tuning makes them.
    fn implausible(&self) -> Option<String> {
        let reports = || self.modules.iter().map(|module| &module.report).filter(|report| !report.weighed);
        let weights: f64 = reports().filter_map(|report| report.weight_norm).map(|norm| norm * norm).sum();
        let delta: f64 = reports().map(|report| report.delta_norm.powi(2)).sum();
        let ratio = (delta / weights).sqrt();
        (ratio > IMPLAUSIBLE).then(|| {
            format!(
                "the difference is {:.0} % of the base's weights, of which fine-tuning changes a few per cent: are the two \
                 models a pair?",
                100.0 * ratio
            )
        })
    }

    /// The adapter, each module at its own rank, or all at one where the policy is uniform.
    pub fn lora(&self) -> Lora<'_> {
        let mut lora = self.own_ranks();
        if self.format == AdapterFormat::Phlora {
            // Its modules have ranks of their own, and no directions of zeros.
            return lora;
        }
        lora.modules
            .extend(self.empty.iter().filter_map(|(name, shape)| LoraModule::zero(name, *shape, self.dtype)));
        if self.policy.uniform { lora.padded() } else { lora }
    }

    /// The adapter, each module at the rank of its factors.
    pub(crate) fn own_ranks(&self) -> Lora<'_> {
        self.with_factors(|module| {
            let factors = module.factors.as_ref()?;
            Some((factors.a.view(), factors.b.view()))
        })
    }

    /// The same without factors, of which only sizes and spectra matter.
    pub(crate) fn without_factors(&self) -> Self {
        let bare = |module: &Module| module.without_factors();
        Self {
            modules: self.modules.iter().map(bare).collect(),
            full: self.full.clone(),
            notes: self.notes.clone(),
            left_out: self.left_out.clone(),
            origin: self.origin.clone(),
            empty: self.empty.clone(),
            names: self.names.clone(),
            said: self.said.clone(),
            targets: self.targets.clone(),
            base_name: self.base_name.clone(),
            tuned_name: self.tuned_name.clone(),
            architecture: self.architecture.clone(),
            spelling: self.spelling.clone(),
            ..*self
        }
    }

    /// The adapter with zeros of rank 1 for the factors of every module, to be sized.
    pub(crate) fn drafted(&self) -> Lora<'_> {
        self.with_factors(|module| {
            let zero = LoraModule::zero("", module.report.shape, Dtype::F16)?;
            Some((zero.a, zero.b))
        })
    }

    /// The adapter with `factors` of its modules.
    fn with_factors<'l>(
        &'l self,
        factors: impl Fn(&'l Module) -> Option<(Factor<'l>, Factor<'l>)>,
    ) -> Lora<'l> {
        let modules = self.modules.iter().filter_map(|module| {
            let (a, b) = factors(module)?;
            Some(LoraModule {
                expert: module.report.expert,
                target: module.target,
                embedding: module.embedding,
                kernel: module.report.kernel.clone(),
                ..LoraModule::new(module.path.as_str(), a, b)
            })
        });
        Lora {
            modules: modules.collect(),
            full: self.full.iter().map(|full| full.tensor.view()).collect(),
            naming: self.naming,
            base_name: Some(self.base_name.clone()),
            architecture: self.architecture.clone(),
            task: self.task.map(str::to_owned),
            class: self.class.map(str::to_owned),
            targets: Some(self.targets.clone()),
            fan_in_fan_out: self.modules.iter().any(|module| module.conv1d),
            spelling: self.spelling.clone(),
            metadata: self.provenance(),
        }
    }

    /// Where it comes from, the same whenever and wherever it is made.
    fn provenance(&self) -> BTreeMap<String, String> {
        let total = self.total();
        // As many digits whatever the energies are: sizes are counted before they are known.
        let share = |share: f64| format!("{:.4}", share.clamp(0.0, 1.0));
        let whole = total.whole_energy.unwrap_or(total.energy);
        let texts = [
            (provenance::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
            (provenance::BASE, self.base_name.clone()),
            (provenance::TUNED, self.tuned_name.clone()),
            (
                provenance::POLICY,
                self.said.clone().unwrap_or_else(|| PolicyReport::from(self.policy).to_string()),
            ),
            (provenance::ENERGY, share(total.energy)),
            (provenance::WHOLE, share(whole)),
        ];
        texts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The adapter as its file will have it: named for that, and of one rank where the policy and PEFT's format ask for
    /// it.
    pub(crate) fn output(&self) -> Result<Lora<'_>> {
        self.renamed(self.lora())
    }

    /// `lora`, made of this extraction, under the names of its file.
    pub(crate) fn renamed<'l>(&self, lora: Lora<'l>) -> Result<Lora<'l>> {
        self.names.apply(lora, self.format, self.experts)
    }

    /// What is to be said about it; its files take `bytes_out`.
    pub(crate) fn report(&self, bytes_out: u64) -> Report {
        let modules: Vec<_> = self.modules.iter().map(|module| module.report.clone()).collect();
        Report {
            version: REPORT_VERSION,
            phlora: env!("CARGO_PKG_VERSION").to_owned(),
            policy: Some(self.policy.into()),
            dtype: match self.format {
                AdapterFormat::Phlora => "compact".to_owned(),
                _ => self.dtype.name().to_ascii_lowercase(),
            },
            curve: energy_by_bytes(&modules, self.dtype, self.policy.by),
            modules,
            full: self.full.iter().map(|full| full.report.clone()).collect(),
            total: self.total(),
            left_out: self.left_out.clone(),
            seconds: self.started.elapsed().as_secs_f64(),
            bytes_in: self.bytes_in,
            bytes_out,
            origin: Some(self.origin.clone()),
            plan: None,
            diff: None,
            notes: self.notes(),
        }
    }

    /// Its model card.
    pub(crate) fn card(&self, report: &Report, asked: Option<&str>) -> String {
        let card = Card {
            report,
            format: self.format,
            base: &self.base_name,
            tuned: &self.tuned_name,
            rank: self.rank(),
            task: self.task,
            asked,
        };
        card.text()
    }

    /// Sums over the modules.
    pub fn total(&self) -> Total {
        let reports = || self.modules.iter().map(|module| &module.report);
        let sides = |module: &ModuleReport| (module.shape[0] + module.shape[1]) as u64;
        let rank = |module: &ModuleReport| if self.policy.uniform { self.rank() } else { module.rank };
        let total = Total::of(reports(), reports().map(|module| sides(module) * rank(module) as u64).sum());
        total.of_whole(reports(), self.full.iter().map(|full| &full.report), &self.left_out)
    }
}
