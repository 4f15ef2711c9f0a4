//! Azure Blob Storage.

use super::call::{NEAR, Sent, call, fields};
use super::environment::{variable, variables};
use super::wanted::Wanted;
use crate::run::pool::lock;
use crate::source::remote::address::encoded;
use crate::source::remote::client::{Request, Trouble};
use crate::source::remote::time::Utc;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::sync::Mutex;

/// Version of the service's interface.
const VERSION: &str = "2021-12-02";

/// The service of a machine at Azure.
const MACHINE: &str = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F";

/// Seconds that a token is used; each is valid for an hour at least.
const LIFE: u64 = 3000;

pub(super) fn request(container: &str, key: &str, wanted: &Wanted) -> Result<Request, Trouble> {
    let account = variables(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]);
    let account = account.ok_or_else(|| {
        Trouble::Final("AZURE_STORAGE_ACCOUNT is not set, which names the account of the container".into())
    })?;
    let endpoint = variables(&["AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_BLOB_ENDPOINT"])
        .unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let url = format!("{}/{container}/{}", endpoint.trim_end_matches('/'), encoded(key, "/"));
    if let Some(sas) = variables(&["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"]) {
        let request = Request::new(format!("{url}?{}", sas.trim_start_matches('?')));
        return Ok(wanted.on(request).header("x-ms-version", VERSION));
    }
    let request = wanted.on(Request::new(url)).header("x-ms-version", VERSION);
    if let Some(key) = variables(&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]) {
        let key = STANDARD.decode(key).map_err(|_| {
            Trouble::Final("the key in AZURE_STORAGE_KEY is not in base64, as Azure shows it".into())
        })?;
        return Ok(signed(request, &account, &key, wanted, Utc::now()));
    }
    Ok(match token() {
        Some(token) => request.secret("authorization", format!("Bearer {token}")),
        None => request,
    })
}

pub(super) fn advice(status: u16) -> &'static str {
    match status {
        404 => "no such blob, or none that anybody may read: check container, path and credentials",
        400 | 401 | 403 | 409 => {
            "not allowed: check AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or the identity of \
             this machine"
        }
        _ => "check AZURE_STORAGE_ENDPOINT and the state of the store",
    }
}

/// `request`, a GET, with the signature of the account's key.
fn signed(request: Request, account: &str, key: &[u8], wanted: &Wanted, now: Utc) -> Request {
    let date = now.http();
    let tag = wanted.tag.as_deref().unwrap_or_default();
    let range = wanted.range().unwrap_or_default();
    let (_, rest) = request.url.split_once("://").unwrap_or_default();
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    // Method, then encoding, language, length, digest and type of the body, date, If-Modified-Since, If-Match,
    // If-None-Match, If-Unmodified-Since and Range.
    let text = format!(
        "GET\n\n\n\n\n\n\n\n{tag}\n\n\n{range}\nx-ms-date:{date}\nx-ms-version:{VERSION}\n/{account}{path}"
    );
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let signature = STANDARD.encode(signature.as_ref());
    request.header("x-ms-date", date).secret("authorization", format!("SharedKey {account}:{signature}"))
}

/// The token of the identity of this machine, where it is one at Azure that has one.
fn token() -> Option<String> {
    static KNOWN: Mutex<Option<(Option<String>, u64)>> = Mutex::new(None);
    if let Some(token) = variable("AZURE_STORAGE_TOKEN") {
        return Some(token);
    }
    let mut known = lock(&KNOWN);
    let now = Utc::now().seconds();
    if let Some((token, _)) = known.as_ref().filter(|(_, since)| now < since + LIFE) {
        return token.clone();
    }
    let text = call(&Sent::Get, MACHINE, &[("metadata", "true")], NEAR).ok();
    let token = text.and_then(|text| fields(&text, ["access_token"])).map(|[token]| token);
    *known = Some((token.clone(), now));
    token
}
