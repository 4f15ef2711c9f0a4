//! One round of an extraction: every pair that is asked for, over threads or out of part files.

use crate::error::Result;
use crate::jobs::extract::meeting::{Job, Round};
use crate::jobs::extract::module::Module;
use crate::jobs::extract::outcome::{Keep, Others, Outcome};
use crate::jobs::extract::plans::{Aim, plans};
use crate::jobs::extract::record;
use crate::jobs::extract::survey::Survey;
use crate::jobs::extract::tasks::Task;
use crate::pairing::pairs::Pair;

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
        let mut jobs = Vec::new();
        for (number, (plan, (pair, task))) in
            plans(aims, self.options)?.into_iter().zip(&self.jobs).enumerate()
        {
            if plan.is_some() || others && !extract(task) {
                let key = key(pair, task, plan.as_ref().map(|plan| plan.aim), keep);
                jobs.push(Job { pair: number, plan, key });
            }
        }
        let Some(journals) = self.options.journals.as_deref() else {
            return Ok(self.sorted(self.outcomes(Round { jobs, keep })?));
        };
        // A worker reads each weight from storage once, which takes longer than its arithmetic.
        let sizes: Vec<_> = jobs.iter().map(|job| self.jobs[job.pair].0.bytes() as u64).collect();
        let keys: Vec<_> = jobs.iter().map(|job| job.key.clone()).collect();
        let round = journals.round(&keys, &sizes);
        let numbers: Vec<_> = jobs.iter().map(|job| job.pair).collect();
        let open = jobs.into_iter().zip(&round.open).filter(|(_, open)| **open).map(|(job, _)| job);
        let mut found = self.outcomes(Round { jobs: open.collect(), keep })?.into_iter();
        journals.end(&round)?;
        let mut outcomes = Vec::new();
        for ((number, key), open) in numbers.into_iter().zip(&keys).zip(&round.open) {
            let pair = &self.jobs[number].0;
            if *open {
                outcomes.extend(found.next());
            } else {
                let Some((text, bytes)) = journals.find(key) else {
                    return Err(pair.tuned.error("it is in no part file, though it was just now"));
                };
                outcomes.push(record::read(text, bytes, pair, self.options)?);
            }
        }
        Ok(self.sorted(outcomes))
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

/// What tells a job from all others of the same extraction, the name of its tensor first.
fn key(pair: &Pair<'_>, task: &Task, aim: Option<Aim>, keep: Keep) -> String {
    format!("{}|{task:?}|{aim:?}|{keep:?}", pair.name)
}
