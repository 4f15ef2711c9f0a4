//! The models of a job, opened by the job or by whoever asks for it.

use crate::adapter::AdapterFormat;
use crate::error::Result;
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::output::Output;
use crate::pairing::aligned::{Aligned, Names};
use crate::source::model::Model;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A model that a job takes: one that is open, or one that the job opens.
#[derive(Debug, Clone)]
pub enum Input<'m> {
    /// A path as [`Model::open`] takes it.
    Path(PathBuf),
    /// An open model.
    Model(&'m Model),
}

/// The models of a job, open.
pub(super) struct Models<'j> {
    pub(super) base: Open<'j>,
    pub(super) tuned: Open<'j>,
    pub(super) deployed: Option<Open<'j>>,
}

pub(super) enum Open<'j> {
    Own(Box<Model>),
    Shared(&'j Model),
}

impl Models<'_> {
    pub(super) fn all(&self) -> impl Iterator<Item = &Model> {
        [Some(&self.base), Some(&self.tuned), self.deployed.as_ref()].into_iter().flatten().map(Deref::deref)
    }

    /// Refuses outputs that would count as weights of one of the models.
    pub(super) fn check_apart(&self, outputs: &[Output], format: AdapterFormat) -> Result<()> {
        let all: Vec<_> = self.all().collect();
        outputs.iter().try_for_each(|output| output.check_apart(format, &all))
    }

    /// The models under common names, what a device runs in the place of the base where that is another model.
    pub(super) fn aligned(&self, options: &ExtractOptions) -> Result<Aligned<'_>> {
        let names = if options.format.is_like_peft() { options.names } else { Names::Checkpoint };
        match &self.deployed {
            None => Aligned::new(&self.base, &self.tuned, None, names),
            Some(deployed) => Aligned::new(deployed, &self.tuned, Some(&self.base), names),
        }
    }
}

impl Input<'_> {
    pub(super) fn open(&self) -> Result<Open<'_>> {
        Ok(match self {
            Self::Path(path) => Open::Own(Box::new(Model::open(path)?)),
            Self::Model(model) => Open::Shared(model),
        })
    }
}

impl Deref for Open<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        match self {
            Self::Own(model) => model,
            Self::Shared(model) => model,
        }
    }
}

impl<'m> From<&'m Model> for Input<'m> {
    fn from(model: &'m Model) -> Self {
        Self::Model(model)
    }
}

impl From<PathBuf> for Input<'_> {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for Input<'_> {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<&str> for Input<'_> {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}
