//! Files at addresses: of the Hugging Face hub, of web servers, of stores of objects.
//!
//! [`Image`] is such a file as if it were mapped. Only its header is read when it is opened. Who needs a weight asks for
//! its bytes ([`Hold`]), which threads fetch by requests for ranges ([`queue`]) into a spool file ([`spool`]); when
//! nobody holds them any more, their space is given back. [`object`] asks again where a connection breaks and refuses a
//! file that has changed, [`store`] knows the URLs and credentials of each kind of store.

mod address;
mod client;
mod hold;
mod image;
mod intervals;
mod object;
mod queue;
mod settings;
mod space;
mod spool;
mod store;
mod time;
mod version;

pub(crate) use hold::Hold;
pub(crate) use image::Image;
pub use settings::{RemoteOptions, read_remote};

use crate::error::{Error, Result};
use object::Object;
use std::path::Path;

/// All bytes of a small file at an address, `None` where there is none. One of more than `most` bytes is given as far as the
/// byte that is too many.
pub(crate) fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    Object::small(path, most).map_err(|why| Error::format(path, why))
}
