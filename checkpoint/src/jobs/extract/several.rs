//! Extractions side by side, of several fine-tunes of one base.

use crate::error::{Error, Result};
use crate::jobs::extract::job::{ExtractJob, Saved};
use crate::jobs::extract::meeting::Meeting;
use crate::jobs::extract::output::Output;
use crate::jobs::extract::survey::Survey;
use crate::jobs::extract::together::run_all;
use crate::run::monitor::Monitor;
use std::collections::HashSet;
use std::thread;

impl ExtractJob<'_> {
    /// Extracts with several jobs side by side, to `outputs`, as [`run`](Self::run) does one after another. Their options are
    /// the same; where they have an open [`Model`](crate::Model) as base, its weights are read once for all of them. Errors in
    /// headers and outputs are found before any weight is read. A job that fails later does not stop the others; results are
    /// in the order of the jobs.
    ///
    /// # Errors
    /// As [`run`](Self::run) before any weight is read; all jobs are as they were then.
    pub fn run_together(
        jobs: &[Self],
        outputs: &[Output],
        monitor: &Monitor,
    ) -> Result<Vec<Result<Vec<Saved>>>> {
        check_distinct(outputs)?;
        let both = || jobs.iter().zip(outputs);
        let outputs: Vec<_> =
            both().map(|(job, output)| job.outputs(output, monitor)).collect::<Result<_>>()?;
        let models: Vec<_> = jobs.iter().map(Self::open).collect::<Result<_>>()?;
        let all = || jobs.iter().zip(&models);
        for ((job, models), outputs) in all().zip(&outputs) {
            models.check_apart(outputs, job.options.format)?;
        }
        let options: Vec<_> = all().map(|(job, models)| job.prepared(models)).collect::<Result<_>>()?;
        let aligned = models.iter().zip(&options).map(|(models, options)| models.aligned(options));
        let aligned: Vec<_> = aligned.collect::<Result<_>>()?;
        let surveys =
            aligned.iter().zip(&options).map(|(models, options)| Survey::new(models, options, monitor));
        let mut surveys: Vec<_> = surveys.collect::<Result<_>>()?;
        let (meeting, members) = Meeting::new(surveys.len());
        let mut ends = Vec::new();
        for (survey, (member, end)) in surveys.iter_mut().zip(members) {
            survey.member = Some(member);
            ends.push(end);
        }
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for (((job, survey), outputs), end) in jobs.iter().zip(&surveys).zip(outputs).zip(ends) {
                let work = move || {
                    let extractions = job.extractions(survey);
                    drop(end);
                    job.write(&extractions?, outputs, monitor)
                };
                threads.push(thread::Builder::new().spawn_scoped(scope, work));
            }
            run_all(meeting, &surveys);
            let no_thread = |error| Error::usage(format!("the system gives no thread to extract: {error}"));
            let panicked = |_| Err(Error::usage("the thread of an extraction panicked".into()));
            let joined = threads.into_iter().map(|thread| {
                thread.map_err(no_thread).and_then(|thread| thread.join().unwrap_or_else(panicked))
            });
            Ok(joined.collect())
        })
    }
}

/// Refuses a place that two adapters or two reports would have.
fn check_distinct(outputs: &[Output]) -> Result<()> {
    let mut places = HashSet::new();
    let reports = outputs.iter().filter_map(|output| output.report.as_ref());
    match outputs.iter().map(|output| &output.path).chain(reports).find(|place| !places.insert(*place)) {
        Some(place) => Err(Error::usage(format!(
            "{}: two fine-tunes would be written to it; name another place for one of them",
            place.display()
        ))),
        None => Ok(()),
    }
}
