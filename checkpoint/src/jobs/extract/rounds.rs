//! One round of an extraction: every pair that is asked for, over threads or out of parts.

use crate::error::{Error, Result};
use crate::jobs::extract::full;
use crate::jobs::extract::memory;
use crate::jobs::extract::module::Module;
use crate::jobs::extract::outcome::{Keep, Others, Outcome, extract_pair, measure, reserve};
use crate::jobs::extract::plans::{Aim, Planned, plans, read_bytes};
use crate::jobs::extract::record;
use crate::jobs::extract::survey::Survey;
use crate::jobs::extract::tasks::Task;
use crate::pairing::pairs::Pair;
use crate::run::pool::{Cost, Ticket, run_round};
use crate::source::read_ahead::ReadAhead;
use phlora_core::Mode;
use std::sync::Arc;

/// A pair, and what is to be done with it.
type Job<'j, 'm> = (&'j Pair<'m>, &'j Task, Option<&'j Planned>);

/// What is told of the outcome of a job, by its number, as soon as it is there.
type Kept<'k> = dyn Fn(usize, &Outcome) -> Result<()> + Sync + 'k;

impl<'m> Survey<'m> {
    /// Extracts the modules that `aim` has an aim for, and measures what is left out if `others` are wanted. Both
    /// sorted by name.
    pub(crate) fn run(
        &self,
        aim: impl Fn(&Pair<'m>) -> Option<Aim>,
        keep: Keep,
        others: bool,
    ) -> Result<(Vec<Module>, Others)> {
        let extract = |task: &Task| matches!(task, Task::Extract);
        let aims = self.jobs.iter().map(|(pair, task)| (pair, extract(task).then(|| aim(pair)).flatten()));
        let plans = plans(aims, self.options)?;
        let jobs: Vec<_> = self
            .jobs
            .iter()
            .zip(&plans)
            .filter(|((_, task), plan)| plan.is_some() || others && !extract(task))
            .map(|((pair, task), plan)| (pair, task, plan.as_ref()))
            .collect();
        let costs: Vec<_> = jobs
            .iter()
            .map(|(pair, _, plan)| read_bytes(pair, plan.as_ref().map_or(1, |plan| plan.expected_reads)))
            .collect();
        let Some(parts) = self.options.parts.as_deref() else {
            let all: Vec<_> = (0..jobs.len()).collect();
            return Ok(self.sorted(self.outcomes(&jobs, &costs, &all, keep, None)?));
        };
        let keys: Vec<_> = jobs.iter().map(|job| key(job, keep)).collect();
        let round = parts.round(&keys, &costs);
        let open: Vec<_> = (0..jobs.len()).filter(|&job| round.open[job]).collect();
        let kept = |job: usize, outcome: &Outcome| {
            let (text, bytes) = record::write(&keys[job], outcome)?;
            parts.keep(&text, &bytes)
        };
        let mut found = self.outcomes(&jobs, &costs, &open, keep, Some(&kept))?.into_iter();
        parts.end(&round)?;
        let mut outcomes = Vec::new();
        for (job, (pair, ..)) in jobs.iter().enumerate() {
            if round.open[job] {
                outcomes.extend(found.next());
            } else {
                let Some((text, bytes)) = parts.find(&keys[job]) else {
                    return Err(pair.tuned.error("it is in no part, though it was just now"));
                };
                outcomes.push(record::read(text, bytes, pair, self.options)?);
            }
        }
        Ok(self.sorted(outcomes))
    }

    /// What becomes of the jobs `open` of `jobs`; `kept` is given each as it is found.
    fn outcomes(
        &self,
        jobs: &[Job<'_, 'm>],
        costs: &[u64],
        open: &[usize],
        keep: Keep,
        kept: Option<&Kept<'_>>,
    ) -> Result<Vec<Outcome>> {
        let jobs: Vec<_> = open.iter().map(|&job| jobs[job]).collect();
        let most =
            jobs.iter().filter_map(|(.., plan)| plan.as_ref()).map(|plan| plan.memory).max().unwrap_or(0);
        for &job in open {
            self.monitor.correct_total(0, costs[job]);
        }

        let spent: Vec<_> =
            open.iter().zip(&jobs).map(|(&job, (.., plan))| cost(costs[job], *plan)).collect();
        let files: Vec<_> = jobs.iter().map(|(pair, _, _)| pair.tensors()).collect();
        let work = |buffer: &mut Vec<f32>, ticket: Ticket<'_>| {
            let (pair, task, plan) = jobs[ticket.job()];
            match (task, plan) {
                (Task::Measure { reason, entries, strict }, _) => {
                    measure(pair, reason, *entries, *strict, ticket).map(Outcome::LeftOut)
                }
                (Task::Take(take), _) => {
                    let (full, left_out) = full::extract(pair, *take, self.options.token_energy, ticket)?;
                    Ok(Outcome::Full(full.map(Arc::new), left_out))
                }
                (Task::Extract, Some(planned)) => {
                    reserve(buffer, most)?;
                    extract_pair(pair, planned, keep, buffer, self.options, ticket)
                }
                (Task::Extract, None) => Err(Error::usage("no plan".into())),
            }
        };
        let threads = memory::threads(self.options, most.saturating_mul(size_of::<f32>()));
        let outcomes = ReadAhead::beside(&files, memory::ahead(self.options), self.monitor, |ahead| {
            run_round(threads, &spent, self.monitor, Vec::new, |buffer, ticket| {
                let _held = ahead.start(ticket.job())?;
                let outcome = work(buffer, ticket)?;
                kept.map_or(Ok(()), |kept| kept(open[ticket.job()], &outcome))?;
                Ok(outcome)
            })
        })?;
        self.monitor.check()?;
        Ok(outcomes)
    }

    /// The modules, and what else there is, sorted by name.
    fn sorted(&self, outcomes: Vec<Outcome>) -> (Vec<Module>, Others) {
        let (mut modules, mut full, mut left_out) = (Vec::new(), Vec::new(), self.one_sided.clone());
        for outcome in outcomes {
            match outcome {
                Outcome::Module(module) => modules.push(*module),
                Outcome::Full(found, rest) => {
                    full.extend(found);
                    left_out.extend(rest);
                }
                Outcome::LeftOut(tensor) => left_out.push(tensor),
            }
        }
        modules.sort_by(|a, b| a.report.name.cmp(&b.report.name));
        full.sort_by(|a, b| a.report.name.cmp(&b.report.name));
        left_out.sort_by(|a, b| a.name.cmp(&b.name));
        (modules, Others { full, left_out })
    }
}

/// What a job costs that reads `bytes`. Where a whole decomposition follows, reading is the least of it.
fn cost(bytes: u64, plan: Option<&Planned>) -> Cost {
    let reading = match plan.map(|planned| planned.plan.mode()) {
        None => bytes,
        Some(Mode::Exact) => bytes / 10,
        // The factors are found after the last read.
        Some(_) => bytes / 20 * 19,
    };
    Cost { all: bytes, reading }
}

/// What tells a job from all others of the same extraction, the name of its tensor first.
fn key((pair, task, plan): &Job<'_, '_>, keep: Keep) -> String {
    format!("{}|{task:?}|{:?}|{keep:?}", pair.name, plan.map(|plan| plan.aim))
}
