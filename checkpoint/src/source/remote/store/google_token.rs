//! Access tokens of Google, from where its own libraries take them.

use super::call::{FAR, NEAR, Sent, call, fields};
use super::environment::{home, variable};
use crate::run::pool::lock;
use crate::source::json::Json;
use crate::source::remote::client::Trouble;
use crate::source::remote::time::Utc;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

const TOKENS: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
const MACHINE: &str = "metadata.google.internal";

/// Seconds that a token is used; each is valid for an hour.
const LIFE: u64 = 3000;

/// The token, if there is one: else requests have none, which buckets that anybody may read accept.
pub(super) fn token() -> Result<Option<String>, Trouble> {
    static KNOWN: Mutex<Option<(Option<String>, u64)>> = Mutex::new(None);
    let mut known = lock(&KNOWN);
    let now = Utc::now().seconds();
    if let Some((token, _)) = known.as_ref().filter(|(_, since)| now < since + LIFE) {
        return Ok(token.clone());
    }
    let token = find(now).map_err(Trouble::Final)?;
    *known = Some((token.clone(), now));
    Ok(token)
}

fn find(now: u64) -> Result<Option<String>, String> {
    if let Some(token) = variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
        return Ok(Some(token));
    }
    let named = variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
    let usual = || Some(home()?.join(".config").join("gcloud").join("application_default_credentials.json"));
    let path = named.or_else(|| usual().filter(|path| path.is_file()));
    let Some(path) = path else { return Ok(machine()) };
    let shown = path.display();
    let text = fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
    let found = match fields(&text, ["type"]).as_ref().map(|[kind]| kind.as_str()) {
        Some("authorized_user") => user(&text)?,
        Some("service_account") => service(&text, now)?,
        _ => return Err(format!("{shown}: neither a service_account nor an authorized_user")),
    };
    Ok(Some(found))
}

/// The token of the account of this machine, where it is one at Google.
fn machine() -> Option<String> {
    let host = variable("GCE_METADATA_HOST").unwrap_or_else(|| MACHINE.to_owned());
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    access(&call(&Sent::Get, &url, &[("metadata-flavor", "Google")], NEAR).ok()?)
}

/// A token for the login of a user.
fn user(text: &str) -> Result<String, String> {
    let [id, secret, refresh] = fields(text, ["client_id", "client_secret", "refresh_token"])
        .ok_or("the credentials of Google lack a client or a refresh_token")?;
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", &id),
        ("client_secret", &secret),
        ("refresh_token", &refresh),
    ];
    access(&call(&Sent::Form(&form), TOKENS, &[], FAR)?).ok_or_else(|| "Google gives no token".to_owned())
}

/// A token for the key of a service.
fn service(text: &str, now: u64) -> Result<String, String> {
    let [email, key] = fields(text, ["client_email", "private_key"])
        .ok_or("the credentials of Google lack client_email or private_key")?;
    let url = fields(text, ["token_uri"]).map_or_else(|| TOKENS.to_owned(), |[url]| url);
    let jwt = signed(&email, &key, &url, now)?;
    let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &jwt)];
    access(&call(&Sent::Form(&form), &url, &[], FAR)?).ok_or_else(|| "Google gives no token".to_owned())
}

/// A signed statement of who asks.
fn signed(email: &str, key: &str, url: &str, now: u64) -> Result<String, String> {
    let bad = || "the private_key of the credentials of Google is no RSA key of PKCS #8".to_owned();
    let lines = key.lines().filter(|line| !line.starts_with("-----"));
    let der = STANDARD.decode(lines.collect::<String>().trim()).map_err(|_| bad())?;
    let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| bad())?;
    let claims = serde_json::json!({"iss": email, "scope": SCOPE, "aud": url, "iat": now, "exp": now + 3600});
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let text = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).map_err(|_| bad())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn access(text: &str) -> Option<String> {
    let json = Json::parse(text.as_bytes()).ok()?;
    json.at("access_token").text().map(std::borrow::Cow::into_owned)
}
