//! Arguments for models that are not files.

use super::heading::REMOTE;
use super::units::size;
use clap::Args;
use phlora::RemoteOptions;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Default, Args)]
pub struct RemoteArgs {
    /// Hold the weights that are worked on in a file in DIR, without a name, in the place of memory
    #[arg(long, value_name = "DIR", global = true, help_heading = REMOTE)]
    pub spool: Option<PathBuf>,
    /// Hold at most this many bytes of weights at a time [default: 2GiB, and more where a weight needs it]
    #[arg(long, value_name = "SIZE", value_parser = size, global = true, help_heading = REMOTE)]
    pub spool_size: Option<usize>,
    /// Requests at a time [default: 16]
    #[arg(long, value_name = "N", global = true, help_heading = REMOTE)]
    pub connections: Option<NonZeroUsize>,
}

impl RemoteArgs {
    /// From now on, reads models at addresses so, where there is a bound on memory within half of it.
    pub fn apply(&self, memory: Option<usize>) {
        let mut options = RemoteOptions::default();
        options.spool.clone_from(&self.spool);
        let half = memory.map(|memory| memory / 2);
        let size = self.spool_size.into_iter().chain(half).min();
        options.size = size.map(|size| size as u64);
        options.connections = self.connections;
        phlora::read_remote(options);
    }
}
