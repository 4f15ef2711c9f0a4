//! The keys that requests to S3 are signed with, from where Amazon's own tools take them.

use super::call::{FAR, NEAR, Sent, call, fields};
use super::environment::{home, variable, variables};
use crate::run::pool::lock;
use crate::source::remote::address::encoded;
use crate::source::remote::client::Trouble;
use crate::source::remote::time::Utc;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// Seconds before their end in which keys are no longer used.
const MARGIN: u64 = 300;

/// The service of a machine at Amazon.
const MACHINE: &str = "http://169.254.169.254/latest";
/// That of a container there.
const CONTAINER: &str = "http://169.254.170.2";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) session: Option<String>,
}

/// Keys that were found, and until when they may be used, in seconds since 1970. `None`: there are none.
type Found = Option<(Keys, Option<u64>)>;

/// The keys, if there are any: else requests are not signed, which buckets that anybody may read accept.
pub(super) fn keys() -> Result<Option<Keys>, Trouble> {
    static KNOWN: Mutex<Option<Found>> = Mutex::new(None);
    let mut known = lock(&KNOWN);
    let fresh = |found: &Found| {
        found
            .as_ref()
            .is_none_or(|(_, until)| until.is_none_or(|until| Utc::now().seconds() + MARGIN < until))
    };
    if let Some(found) = known.as_ref().filter(|found| fresh(found)) {
        return Ok(found.as_ref().map(|(keys, _)| keys.clone()));
    }
    let found = find().map_err(Trouble::passing)?;
    let keys = found.as_ref().map(|(keys, _)| keys.clone());
    *known = Some(found);
    Ok(keys)
}

fn find() -> Result<Found, String> {
    if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        return Ok(Some((Keys { id, secret, session: variable("AWS_SESSION_TOKEN") }, None)));
    }
    if let (Some(id), Some(secret)) = (setting("aws_access_key_id"), setting("aws_secret_access_key")) {
        return Ok(Some((Keys { id, secret, session: setting("aws_session_token") }, None)));
    }
    if let (Some(file), Some(role)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN")) {
        return web_identity(&file, &role).map(Some);
    }
    let container =
        variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
    if let Some(url) = container.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let token = file.and_then(|file| fs::read_to_string(file).ok());
        let token = token.or_else(|| variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")).unwrap_or_default();
        let text = call(&Sent::Get, &url, &[("authorization", token.trim())], FAR)?;
        return read(&text).map(Some).ok_or_else(|| format!("{url} gives no keys"));
    }
    Ok(machine())
}

/// The keys of this machine's role, where it is one at Amazon that has one.
fn machine() -> Found {
    if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let life = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")];
    let token = call(&Sent::Put, &format!("{MACHINE}/api/token"), &life, NEAR).ok()?;
    let token = [("x-aws-ec2-metadata-token", token.as_str())];
    let roles = format!("{MACHINE}/meta-data/iam/security-credentials/");
    let role = call(&Sent::Get, &roles, &token, NEAR).ok()?;
    read(&call(&Sent::Get, &format!("{roles}{}", role.lines().next()?), &token, NEAR).ok()?)
}

/// Keys in the form of both services.
fn read(text: &str) -> Option<(Keys, Option<u64>)> {
    let [id, secret, session, until] =
        fields(text, ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"])?;
    Some((Keys { id, secret, session: Some(session) }, Utc::parse(&until)))
}

/// Keys for the token of a cluster's account.
fn web_identity(file: &str, role: &str) -> Result<(Keys, Option<u64>), String> {
    let token = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let region = variables(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let host =
        region.map_or_else(|| "sts.amazonaws.com".into(), |region| format!("sts.{region}.amazonaws.com"));
    let endpoint = variable("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| format!("https://{host}"));
    let session = variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "phlora".to_owned());
    let url = format!(
        "{endpoint}/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
        encoded(role, ""),
        encoded(&session, ""),
        encoded(token.trim(), "")
    );
    let text = call(&Sent::Get, &url, &[], FAR)?;
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_owned())
    };
    let (id, secret) = (field("AccessKeyId"), field("SecretAccessKey"));
    let (id, secret) = id.zip(secret).ok_or_else(|| format!("{host} gives no keys"))?;
    let until = field("Expiration").and_then(|text| Utc::parse(&text));
    Ok((Keys { id, secret, session: field("SessionToken") }, until))
}

/// A setting of the profile in the files of Amazon's tools.
pub(super) fn setting(name: &str) -> Option<String> {
    let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let place = |variable_name: &str, name: &str| {
        variable(variable_name).map(PathBuf::from).or_else(|| Some(home()?.join(".aws").join(name)))
    };
    let files = [place("AWS_SHARED_CREDENTIALS_FILE", "credentials"), place("AWS_CONFIG_FILE", "config")];
    files.into_iter().flatten().find_map(|path| within(&fs::read_to_string(path).ok()?, &profile, name))
}

/// The value of `name` in the section of `profile`.
fn within(text: &str, profile: &str, name: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.trim();
            inside = section.strip_prefix("profile ").unwrap_or(section).trim() == profile;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside)
            && key.trim() == name
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read() {
        let text = "[default]\naws_access_key_id = A\n\n[profile two]\nregion=eu-west-1\n# region = x\n";
        assert_eq!(within(text, "default", "aws_access_key_id").as_deref(), Some("A"));
        assert_eq!(within(text, "two", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(within(text, "two", "aws_access_key_id"), None);
    }

    #[test]
    fn keys_of_services_are_read() {
        let text = r#"{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"S","Token":"T",
                       "Expiration":"2013-05-24T00:00:00Z"}"#;
        let (keys, until) = read(text).unwrap();
        assert_eq!((keys.id.as_str(), keys.session.as_deref(), until), ("A", Some("T"), Some(1_369_353_600)));
    }
}
