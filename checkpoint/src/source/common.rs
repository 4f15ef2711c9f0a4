//! Weights of jobs, some of which one job after another has, as the base of several fine-tunes: those are here from the first
//! of these jobs to the last.

use crate::error::Result;
use crate::run::pool::lock;
use crate::source::held::Held;
use crate::source::tensor::Tensor;
use std::sync::{Arc, Mutex};

/// The weights of all jobs.
#[derive(Debug)]
pub(crate) struct Jobs<'m> {
    jobs: Vec<Job<'m>>,
    groups: Vec<Group<'m>>,
}

#[derive(Debug)]
struct Job<'m> {
    /// The weights that its neighbours do not have.
    own: Vec<Tensor<'m>>,
    group: Option<usize>,
    first: bool,
}

/// Jobs one after another that have weights in common.
#[derive(Debug)]
struct Group<'m> {
    common: Vec<Tensor<'m>>,
    state: Mutex<State<'m>>,
}

#[derive(Debug)]
struct State<'m> {
    held: Option<Arc<Held<'m>>>,
    /// Jobs that have not asked yet.
    left: usize,
}

/// The weights of one job, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lent<'m> {
    own: Held<'m>,
    common: Option<Arc<Held<'m>>>,
}

impl<'m> Jobs<'m> {
    /// The weights of each job.
    pub(crate) fn new(weights: &[Vec<Tensor<'m>>]) -> Self {
        let (mut jobs, mut groups) = (Vec::with_capacity(weights.len()), Vec::new());
        let has = |job: usize, tensor: &Tensor<'m>| {
            weights.get(job).is_some_and(|job| job.iter().any(|other| other.is_same(tensor)))
        };
        while let Some(first) = weights.get(jobs.len()) {
            let start = jobs.len();
            let common: Vec<_> = first.iter().filter(|tensor| has(start + 1, tensor)).copied().collect();
            if common.is_empty() {
                jobs.push(Job { own: first.clone(), group: None, first: true });
                continue;
            }
            while common.iter().all(|tensor| has(jobs.len(), tensor)) {
                let of_job = weights[jobs.len()].iter();
                let own = of_job.filter(|tensor| !common.iter().any(|other| other.is_same(tensor)));
                let (own, first) = (own.copied().collect(), jobs.len() == start);
                jobs.push(Job { own, group: Some(groups.len()), first });
            }
            let state = Mutex::new(State { held: None, left: jobs.len() - start });
            groups.push(Group { common, state });
        }
        Self { jobs, groups }
    }

    /// How many jobs there are.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The weights of a job that none before it has.
    pub(crate) fn new_in(&self, job: usize) -> impl Iterator<Item = &Tensor<'m>> + Clone {
        let Job { own, group, first } = &self.jobs[job];
        let common = group.filter(|_| *first).map(|group| self.groups[group].common.as_slice());
        common.unwrap_or_default().iter().chain(own)
    }

    /// Whether any of the weights of a job is at an address.
    pub(crate) fn is_remote(&self, job: usize) -> bool {
        let Job { own, group, .. } = &self.jobs[job];
        let common = group.map(|group| self.groups[group].common.as_slice());
        own.iter().chain(common.unwrap_or_default()).any(Tensor::is_remote)
    }

    /// Asks for the weights of a job, once for each. Jobs with weights at addresses must ask in their order, since they wait
    /// for room that earlier ones give back.
    ///
    /// # Errors
    /// As [`Held::ask`].
    pub(crate) fn ask(&self, job: usize) -> Result<Lent<'m>> {
        let Job { own, group, .. } = &self.jobs[job];
        let common = group.map(|group| self.groups[group].lend()).transpose()?;
        let own = Held::ask(own.clone(), common.as_deref())?;
        Ok(Lent { own, common })
    }

    /// The same, whatever the order: what is not here by chance is fetched for this job alone.
    ///
    /// # Errors
    /// As [`Held::ask`].
    pub(crate) fn ask_alone(&self, job: usize) -> Result<Lent<'m>> {
        let Job { own, group, .. } = &self.jobs[job];
        let common = group.map(|group| self.groups[group].common.as_slice()).unwrap_or_default();
        let own = Held::ask(common.iter().chain(own).copied().collect(), None)?;
        Ok(Lent { own, common: None })
    }
}

impl<'m> Group<'m> {
    /// The weights that the jobs have in common, for one of them.
    fn lend(&self) -> Result<Arc<Held<'m>>> {
        let mut state = lock(&self.state);
        state.left = state.left.saturating_sub(1);
        let held = match state.held.take() {
            Some(held) => held,
            None => Arc::new(Held::ask(self.common.clone(), None)?),
        };
        if state.left > 0 {
            state.held = Some(Arc::clone(&held));
        }
        Ok(held)
    }
}

impl Lent<'_> {
    /// Waits until all bytes are here.
    ///
    /// # Errors
    /// Where some cannot be had; file and tensor are named.
    pub(crate) fn wait(&self) -> Result<()> {
        self.common.as_deref().map_or(Ok(()), Held::wait)?;
        self.own.wait()
    }
}
