//! The Hugging Face hub, or what speaks as it does.

use super::environment::{home, variable};
use super::wanted::Wanted;
use crate::run::pool::lock;
use crate::source::remote::address::encoded;
use crate::source::remote::client::{Answer, Request};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

const ENDPOINT: &str = "https://huggingface.co";

/// The commits that revisions of models stand for.
static COMMITS: LazyLock<Mutex<HashMap<(String, String), String>>> = LazyLock::new(Mutex::default);

pub(super) fn request(id: &str, revision: &str, file: &str, wanted: &Wanted) -> Request {
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
    let known = lock(&COMMITS).get(&(id.to_owned(), revision.to_owned())).cloned();
    let revision = encoded(known.as_deref().unwrap_or(revision), "");
    let (endpoint, id, file) = (endpoint.trim_end_matches('/'), encoded(id, "/"), encoded(file, "/"));
    // No tag: the hub and the storage that it redirects to have different ones.
    let wanted = Wanted { tag: None, ..wanted.clone() };
    let request = wanted.on(Request::new(format!("{endpoint}/{id}/resolve/{revision}/{file}")));
    match token() {
        Some(token) => request.secret("authorization", format!("Bearer {token}")),
        None => request,
    }
}

/// Keeps the commit that an answer names.
pub(super) fn learn(id: &str, revision: &str, answer: &Answer) {
    if let Some(commit) = answer.any_header("x-repo-commit") {
        lock(&COMMITS).entry((id.to_owned(), revision.to_owned())).or_insert_with(|| commit.to_owned());
    }
}

/// The token of the user, from where the hub's own library takes it.
fn token() -> Option<String> {
    if let Some(token) = variable("HF_TOKEN") {
        return Some(token);
    }
    let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
    let path = path.or_else(|| Some(PathBuf::from(variable("HF_HOME")?).join("token")));
    let cache = || variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cache")));
    let path = path.or_else(|| Some(cache()?.join("huggingface").join("token")))?;
    let token = fs::read_to_string(path).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Whether a refusal means that the model is there, but not this file of it.
pub(super) fn lacks_file(status: u16, said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    status == 404 && !said.contains("reponotfound") && !said.contains("revisionnotfound")
}

pub(super) fn advice(id: &str, revision: &str, status: u16, said: &str) -> String {
    let said = said.to_ascii_lowercase();
    let token = token().is_some();
    match status {
        404 if said.contains("revisionnotfound") => {
            format!("{id} has no revision {revision}: check what follows @")
        }
        404 if said.contains("reponotfound") => format!("there is no model {id}: check the name"),
        404 | 410 => {
            "no such file in the model: check the name, and that its weights are safetensors or GGUF".into()
        }
        401 if token => {
            format!(
                "the token is not accepted, expired perhaps, or there is no model {id}: set HF_TOKEN to a valid one, or \
                 log in again with `hf auth login`"
            )
        }
        401 | 403 if !token => format!(
            "{id} is private or gated, or does not exist: set HF_TOKEN, or log in with `hf auth login`, and accept the \
             model's terms on its page"
        ),
        403 => format!(
            "the token may not read {id}: accept the model's terms on its page, or take another token"
        ),
        _ => "see the state of the hub, or download the model with `hf download`".into(),
    }
}
