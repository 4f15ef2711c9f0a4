//! Where extractions of one base meet: each goes on in a thread of its own that decides what a round holds, and their rounds are
//! run as one.

use crate::error::{Error, Result};
use crate::jobs::extract::outcome::{Keep, Outcome};
use crate::jobs::extract::plans::Planned;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What one extraction does in a round.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) jobs: Vec<Job>,
    pub(super) keep: Keep,
}

/// One pair of a round.
#[derive(Debug)]
pub(super) struct Job {
    /// Its number among the pairs of the extraction.
    pub(super) pair: usize,
    pub(super) plan: Option<Planned>,
    /// Its name in a part file.
    pub(super) key: String,
}

/// What the threads of extractions say.
#[derive(Debug)]
enum Said {
    Round(usize, Round, Sender<Result<Vec<Outcome>>>),
    Ended,
}

/// An extraction among several.
#[derive(Debug)]
pub(crate) struct Member {
    number: usize,
    says: Sender<Said>,
}

/// Tells that an extraction has no more rounds, however its thread ends.
#[derive(Debug)]
pub(super) struct Ends(Sender<Said>);

/// Where the rounds of several extractions meet.
#[derive(Debug)]
pub(super) struct Meeting {
    said: Receiver<Said>,
    members: usize,
}

impl Meeting {
    /// One for as many extractions, and what each of them needs for it.
    pub(super) fn new(members: usize) -> (Self, Vec<(Member, Ends)>) {
        let (says, said) = channel();
        let member = |number| (Member { number, says: says.clone() }, Ends(says.clone()));
        (Self { said, members }, (0..members).map(member).collect())
    }

    /// Lets `work` run the rounds of all, each with the number of its extraction, until no extraction has any more.
    pub(super) fn run(mut self, work: impl Fn(&[(usize, &Round)]) -> Vec<Result<Vec<Outcome>>>) {
        loop {
            let mut met = Vec::new();
            while met.len() < self.members {
                match self.said.recv() {
                    Ok(Said::Round(number, round, answer)) => met.push((number, round, answer)),
                    Ok(Said::Ended) => self.members -= 1,
                    Err(_) => return,
                }
            }
            if met.is_empty() {
                return;
            }
            met.sort_by_key(|(number, ..)| *number);
            let outcomes = work(&met.iter().map(|(number, round, _)| (*number, round)).collect::<Vec<_>>());
            for ((.., answer), outcomes) in met.into_iter().zip(outcomes) {
                // Whoever asked waits for it.
                let _ = answer.send(outcomes);
            }
        }
    }
}

impl Member {
    /// What becomes of the jobs of a round, in their order.
    pub(super) fn run(&self, round: Round) -> Result<Vec<Outcome>> {
        let (answer, answered) = channel();
        let gone = || Error::usage("the extractions beside this one have ended".into());
        self.says.send(Said::Round(self.number, round, answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // Nobody listens where all is over.
        let _ = self.0.send(Said::Ended);
    }
}
