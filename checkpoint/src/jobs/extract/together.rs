//! Rounds of extractions, run over threads: one of a single extraction, or one of each of several of one base.
//!
//! Those of several are run as one, over the same threads, pair by pair of the base, so that a weight of the base is read once
//! for all.

use crate::error::{Error, Result};
use crate::jobs::extract::full;
use crate::jobs::extract::meeting::{Job, Meeting, Round};
use crate::jobs::extract::memory_bound;
use crate::jobs::extract::outcome::{Keep, Outcome, extract_pair, measure, reserve};
use crate::jobs::extract::plans::{most_memory, read_bytes};
use crate::jobs::extract::record;
use crate::jobs::extract::survey::Survey;
use crate::jobs::extract::tasks::Task;
use crate::pairing::pairs::Pair;
use crate::run::pool::{Cost, Ticket, run_round};
use crate::source::read_ahead::ReadAhead;
use phlora_core::Mode;
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A pair of one of the extractions whose rounds are run.
struct Step<'r, 's, 'm> {
    /// Which of them.
    round: usize,
    survey: &'s Survey<'m>,
    job: &'r Job,
    keep: Keep,
}

/// Runs the rounds of all extractions of a meeting; one that fails does not stop the others.
pub(super) fn run_all(meeting: Meeting, surveys: &[Survey<'_>]) {
    meeting
        .run(|met| run(&met.iter().map(|(number, round)| (&surveys[*number], *round)).collect::<Vec<_>>()));
}

impl Survey<'_> {
    /// What becomes of the jobs of a round, in their order.
    pub(super) fn outcomes(&self, round: Round) -> Result<Vec<Outcome>> {
        match &self.member {
            Some(member) => member.run(round),
            None => run(&[(self, &round)]).pop().unwrap_or_else(|| Ok(Vec::new())),
        }
    }
}

/// What becomes of each of `rounds`, whose options and monitor are those of the first. Where one fails the others go on.
fn run(rounds: &[(&Survey<'_>, &Round)]) -> Vec<Result<Vec<Outcome>>> {
    let Some((first, _)) = rounds.first() else { return Vec::new() };
    let (options, monitor) = (first.options, first.monitor);
    let steps = steps(rounds);
    let most = steps.iter().filter_map(|step| step.job.plan.as_ref()).map(|plan| plan.memory).max();
    let most = most.unwrap_or(0);
    let spent: Vec<_> = steps.iter().map(Step::cost).collect();
    monitor.correct_total(0, spent.iter().map(|cost| cost.all).sum());
    let files: Vec<_> = steps.iter().map(|step| step.pair().tensors()).collect();
    let threads = memory_bound::threads(options, || {
        let most = steps.iter().filter_map(Step::most_memory).max();
        most.unwrap_or(0).saturating_mul(size_of::<f32>())
    });
    // The first step of each round that failed; later ones of that round are left out.
    let failed: Vec<_> = rounds.iter().map(|_| AtomicUsize::new(usize::MAX)).collect();
    let several = rounds.len() > 1;
    let outcomes = ReadAhead::beside(&files, memory_bound::ahead(options), monitor, |ahead| {
        run_round(threads, &spent, monitor, Vec::new, |buffer, ticket| {
            let (step, number) = (&steps[ticket.job()], ticket.job());
            let held = ahead.start(number);
            if failed[step.round].load(Ordering::Relaxed) < number {
                return Ok(Err(Error::Cancelled));
            }
            let outcome = held.and_then(|held| {
                held.wait()?;
                step.run(most, buffer, ticket)
            });
            step.survey.read.fetch_add(ticket.bytes_read(), Ordering::Relaxed);
            match outcome {
                Err(error) if several && monitor.check().is_ok() => {
                    failed[step.round].fetch_min(number, Ordering::Relaxed);
                    Ok(Err(error))
                }
                outcome => outcome.map(Ok),
            }
        })
    });
    let outcomes = outcomes.and_then(|outcomes| monitor.check().map(|()| outcomes));
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        // One round failed, or all were cancelled.
        Err(error) => {
            let mut all: Vec<_> = rounds.iter().map(|_| Err(Error::Cancelled)).collect();
            all[0] = Err(error);
            return all;
        }
    };
    let mut found: Vec<Vec<_>> = rounds.iter().map(|_| Vec::new()).collect();
    for (step, outcome) in steps.iter().zip(outcomes) {
        found[step.round].push((step.job.pair, outcome));
    }
    let sorted = |mut found: Vec<(usize, Result<Outcome>)>| {
        if found.iter().all(|(_, outcome)| outcome.is_ok()) {
            found.sort_by_key(|(pair, _)| *pair);
        }
        // The first error is that of the first step that failed.
        found.into_iter().map(|(_, outcome)| outcome).collect()
    };
    found.into_iter().map(sorted).collect()
}

/// The jobs of all rounds: largest first, those of one weight of the base one after another.
fn steps<'r, 's, 'm>(rounds: &[(&'s Survey<'m>, &'r Round)]) -> Vec<Step<'r, 's, 'm>> {
    let of = |(number, (survey, round)): (usize, &(&'s Survey<'m>, &'r Round))| {
        let (survey, round): (&'s Survey<'m>, &'r Round) = (survey, round);
        let step = move |job| Step { round: number, survey, job, keep: round.keep };
        round.jobs.iter().map(step).collect::<Vec<_>>()
    };
    let mut steps: Vec<_> = rounds.iter().enumerate().flat_map(of).collect();
    if rounds.len() > 1 {
        let weight = |step: &Step<'_, 's, 'm>| {
            let base = step.pair().base;
            (base.file(), base.stored_name(), base.expert().map(|expert| expert.index))
        };
        steps.sort_by_key(|step| (weight(step), step.round, step.job.pair));
        let mut groups: Vec<Vec<_>> = Vec::new();
        for step in steps {
            match groups.last_mut() {
                Some(group) if weight(&group[0]) == weight(&step) => group.push(step),
                _ => groups.push(vec![step]),
            }
        }
        let bytes = |group: &Vec<Step<'_, '_, '_>>| group.iter().map(|step| step.pair().bytes()).max();
        groups.sort_by_key(|group| (Reverse(bytes(group)), group[0].pair().name));
        steps = groups.into_iter().flatten().collect();
    }
    steps
}

impl<'m> Step<'_, '_, 'm> {
    fn pair(&self) -> &Pair<'m> {
        &self.survey.jobs[self.job.pair].0
    }

    /// Elements that it takes at most.
    fn most_memory(&self) -> Option<usize> {
        let planned = self.job.plan.as_ref()?;
        Some(most_memory(self.pair(), planned, self.survey.options))
    }

    /// What it is expected to take. Where a whole decomposition follows, reading is the least of it.
    fn cost(&self) -> Cost {
        let reads = self.job.plan.as_ref().map_or(1, |plan| plan.expected_reads);
        let bytes = read_bytes(self.pair(), reads);
        let reading = match self.job.plan.as_ref().map(|planned| planned.plan.mode()) {
            None => bytes,
            Some(Mode::Exact) => bytes / 10,
            // The factors are found after the last read.
            Some(_) => bytes / 20 * 19,
        };
        Cost { all: bytes, reading }
    }

    /// What becomes of it, which is kept in the part file of the extraction as soon as it is known.
    fn run(&self, most: usize, buffer: &mut Vec<f32>, ticket: Ticket<'_>) -> Result<Outcome> {
        let (pair, task) = &self.survey.jobs[self.job.pair];
        let options = self.survey.options;
        let outcome = match (task, &self.job.plan) {
            (Task::Measure { reason, entries, strict }, _) => {
                measure(pair, reason, *entries, *strict, options.measured_norms, ticket).map(Outcome::LeftOut)
            }
            (Task::Take(take), _) => {
                let (full, left_out) = full::extract(pair, *take, options.token_energy, ticket)?;
                Ok(Outcome::Full(full.map(Arc::new), left_out))
            }
            (Task::Extract, Some(planned)) => {
                reserve(buffer, most)?;
                extract_pair(pair, planned, self.keep, buffer, options, ticket)
            }
            (Task::Extract, None) => Err(Error::usage("no plan".into())),
        }?;
        if let Some(journals) = options.journals.as_deref() {
            let (text, bytes) = record::write(&self.job.key, &outcome)?;
            journals.keep(&text, &bytes)?;
        }
        Ok(outcome)
    }
}
