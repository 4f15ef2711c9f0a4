//! Google Cloud Storage, by its XML interface.

use super::environment::variables;
use super::google_token::token;
use super::wanted::Wanted;
use crate::source::remote::address::encoded;
use crate::source::remote::client::{Request, Trouble};

const ENDPOINT: &str = "https://storage.googleapis.com";

pub(super) fn request(bucket: &str, key: &str, wanted: &Wanted) -> Result<Request, Trouble> {
    let endpoint = variables(&["STORAGE_EMULATOR_HOST"]);
    // An emulator asks for nothing.
    let token = if endpoint.is_some() { None } else { token()? };
    let endpoint = endpoint.map_or_else(
        || ENDPOINT.to_owned(),
        |host| if host.contains("://") { host } else { format!("http://{host}") },
    );
    let request = Request::new(format!("{}/{bucket}/{}", endpoint.trim_end_matches('/'), encoded(key, "/")));
    let request = wanted.on(request);
    Ok(match token {
        Some(token) => request.secret("authorization", format!("Bearer {token}")),
        None => request,
    })
}

pub(super) fn advice(status: u16) -> &'static str {
    match status {
        404 => "no such object: check bucket and path",
        401 | 403 => {
            "not allowed: check GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the account of \
             this machine"
        }
        _ => "check the state of the store",
    }
}
