//! Amazon S3 and what speaks as it does: requests signed by version 4 of its signatures.

use super::aws_keys::{Keys, keys, setting};
use super::environment::variables;
use super::wanted::Wanted;
use crate::source::remote::address::encoded;
use crate::source::remote::client::{Request, Trouble, host};
use crate::source::remote::time::Utc;
use ring::{digest, hmac};
use std::fmt::Write;

/// The digest of a body that is not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

pub(super) fn request(bucket: &str, key: &str, wanted: &Wanted) -> Result<Request, Trouble> {
    let region = variables(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or_else(|| setting("region"));
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint =
        variables(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]).or_else(|| setting("endpoint_url"));
    let path = encoded(key, "/");
    let url = match endpoint {
        Some(endpoint) => format!("{}/{bucket}/{path}", endpoint.trim_end_matches('/')),
        // The certificates of hosts named by their bucket have no dots before that name.
        None if bucket.contains('.') => format!("https://s3.{region}.amazonaws.com/{bucket}/{path}"),
        None => format!("https://{bucket}.s3.{region}.amazonaws.com/{path}"),
    };
    let request = wanted.on(Request::new(url));
    Ok(match keys()? {
        Some(keys) => signed(request, &keys, &region, UNSIGNED, Utc::now()),
        None => request,
    })
}

pub(super) fn advice(status: u16) -> &'static str {
    match status {
        404 => "no such object: check bucket and path",
        301 | 307 | 400 => "check AWS_REGION, which has to be that of the bucket, and the credentials",
        401 | 403 => {
            "not allowed, or no such object: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role \
             of this machine"
        }
        _ => "check AWS_ENDPOINT_URL and the state of the store",
    }
}

/// `request`, a GET, with its signature. All its headers are signed, in the order of their names.
fn signed(mut request: Request, keys: &Keys, region: &str, body: &str, now: Utc) -> Request {
    request = request.secret("x-amz-content-sha256", body).secret("x-amz-date", now.compact());
    if let Some(session) = &keys.session {
        request = request.secret("x-amz-security-token", session.as_str());
    }
    let host = host(&request.url);
    let mut headers: Vec<_> = request.headers.iter().chain(&request.secret).cloned().collect();
    headers.push(("host", host));
    headers.sort();
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let (_, rest) = request.url.split_once("://").unwrap_or_default();
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    let mut canonical = format!("GET\n{path}\n\n");
    for (name, value) in &headers {
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{body}");
    let scope = format!("{}/{region}/s3/aws4_request", now.day());
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hashed}", now.compact());
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for scope in [&now.day(), region, "s3", "aws4_request"] {
        key = mac(&key, scope);
    }
    let signature = hex(&mac(&key, &text));
    let id = &keys.id;
    request.secret(
        "authorization",
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"),
    )
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of a GET of Amazon's documentation of its signatures.
    #[test]
    fn the_signature_is_that_of_the_documentation() {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        };
        let request = Request::new("https://examplebucket.s3.amazonaws.com/test.txt");
        let request = Wanted { range: Some(0..10), tag: None }.on(request);
        let empty = hex(digest::digest(&digest::SHA256, b"").as_ref());
        let signed = signed(request, &keys, "us-east-1", &empty, Utc::at(1_369_353_600));
        let (_, value) = signed.secret.last().unwrap();
        assert_eq!(
            value,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }
}
