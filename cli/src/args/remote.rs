//! Arguments for models that are not files.

use super::units::size;
use clap::Args;
use phlora::RemoteOptions;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Models at addresses (hf://, https://, s3://, gs://, az://)")]
pub struct RemoteArgs {
    /// Hold the weights that are worked on in a file in DIR, without a name, in the place of memory
    #[arg(long, value_name = "DIR", global = true)]
    pub spool: Option<PathBuf>,
    /// Hold at most this many bytes of weights at a time [default: 2GiB, and more where a weight needs it]
    #[arg(long, value_name = "SIZE", value_parser = size, global = true)]
    pub spool_size: Option<usize>,
    /// Requests at a time [default: 16]
    #[arg(long, value_name = "N", global = true)]
    pub connections: Option<NonZeroUsize>,
}

impl RemoteArgs {
    /// From now on, reads models at addresses so.
    pub fn apply(&self) {
        let mut options = RemoteOptions::default();
        options.spool.clone_from(&self.spool);
        options.size = self.spool_size.map(|size| size as u64);
        options.connections = self.connections;
        phlora::read_remote(options);
    }
}
