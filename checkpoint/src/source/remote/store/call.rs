//! Short calls to services that give credentials.

use crate::source::json::Json;
use crate::source::remote::client::{agent, host};
use std::time::Duration;

/// How long the service of a cloud's machine may take: elsewhere nobody answers.
pub(super) const NEAR: Duration = Duration::from_secs(1);
/// How long another service may take.
pub(super) const FAR: Duration = Duration::from_secs(30);

/// What is sent.
pub(super) enum Sent<'s> {
    Get,
    Put,
    Form(&'s [(&'s str, &'s str)]),
}

/// The text of a successful answer.
pub(super) fn call(
    sent: &Sent<'_>,
    url: &str,
    headers: &[(&str, &str)],
    most: Duration,
) -> Result<String, String> {
    let agent = agent()?;
    let failed = |error: ureq::Error| format!("no answer of {}: {error}", host(url));
    let mut response = match sent {
        Sent::Get => {
            let request = agent.get(url).config().timeout_global(Some(most)).build();
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call()
        }
        Sent::Put => {
            let request = agent.put(url).config().timeout_global(Some(most)).build();
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send_empty()
        }
        Sent::Form(fields) => {
            let request = agent.post(url).config().timeout_global(Some(most)).build();
            headers
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value))
                .send_form(fields.iter().copied())
        }
    }
    .map_err(failed)?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().map_err(failed)?;
    if status == 200 { Ok(text) } else { Err(format!("{} answered HTTP {status}: {text:.200}", host(url))) }
}

/// The texts of `keys` in an object of JSON; all must be there.
pub(super) fn fields<const N: usize>(text: &str, keys: [&str; N]) -> Option<[String; N]> {
    let json = Json::parse(text.as_bytes()).ok()?;
    let found: Option<Vec<_>> =
        keys.iter().map(|key| json.at(key).text().map(std::borrow::Cow::into_owned)).collect();
    found?.try_into().ok()
}
