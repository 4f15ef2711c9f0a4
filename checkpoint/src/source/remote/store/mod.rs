//! How each kind of store is asked for a file: its URL, its credentials, and what its refusals mean.

mod aws_keys;
mod azure;
mod call;
mod environment;
mod gcs;
mod google_token;
mod hub;
mod s3;
mod wanted;

pub(super) use wanted::Wanted;

use super::address::Address;
use super::client::{Answer, Request, Trouble};

/// The request for a file.
pub(super) fn request(address: &Address, wanted: &Wanted) -> Result<Request, Trouble> {
    match address {
        Address::Web { url } => Ok(wanted.on(Request::new(url.as_str()))),
        Address::Hub { id, revision, file } => Ok(hub::request(id, revision, file, wanted)),
        Address::S3 { bucket, key } => s3::request(bucket, key, wanted),
        Address::Gcs { bucket, key } => gcs::request(bucket, key, wanted),
        Address::Azure { container, key } => azure::request(container, key, wanted),
    }
}

/// Learns from an answer: the hub says which commit a revision is, and all later files are those of this commit.
pub(super) fn learn(address: &Address, answer: &Answer) {
    if let Address::Hub { id, revision, .. } = address {
        hub::learn(id, revision, answer);
    }
}

/// Whether a refusal means that there is no such file, rather than that it may not be read.
pub(super) fn is_absent(address: &Address, status: u16, said: &str) -> bool {
    match address {
        Address::Hub { .. } => hub::lacks_file(status, said),
        // Stores that may not list what they hold do not say what is not there either.
        _ => matches!(status, 403 | 404 | 410),
    }
}

/// What to do where a file is refused with `status`, of which the server says `said`.
pub(super) fn advice(address: &Address, status: u16, said: &str) -> String {
    match (address, status) {
        (Address::Hub { id, revision, .. }, _) => hub::advice(id, revision, status, said),
        (Address::S3 { .. }, _) => s3::advice(status).into(),
        (Address::Gcs { .. }, _) => gcs::advice(status).into(),
        (Address::Azure { .. }, _) => azure::advice(status).into(),
        (Address::Web { .. }, 404 | 410) => "no such file: check the address".into(),
        (Address::Web { .. }, 401 | 403) => {
            "the server does not let everybody read it: take an address that is signed, or download the model"
                .into()
        }
        (Address::Web { .. }, _) => "check the address, or download the model".into(),
    }
}
