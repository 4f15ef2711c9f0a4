//! Recognises files that are no weights (Git LFS pointers, web pages, cut downloads) and says what to do.

use crate::error::{Error, Result};
use crate::source::gguf::is_gguf;
use std::path::Path;

/// The beginning of a file that Git LFS leaves in the place of another.
const POINTER: &[u8] = b"version https://git-lfs";

/// Files of a training whose ends are those of pickled weights.
const OF_TRAINING: [&str; 4] = ["training_args", "optimizer", "scheduler", "scaler"];

/// Characters of a text that are shown.
const SHOWN: usize = 80;

/// Bytes in which an archive names its first entry.
const ARCHIVE_HEAD: usize = 512;

/// Bytes that tell a text.
const HEAD: usize = 8;

/// What helps where a file is not all there.
pub(crate) const AGAIN: &str = "download or copy it again";

/// Refuses `bytes`, the content of the file `path`, where they are no safetensors file and what they are is known.
pub(crate) fn refuse(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Err(Error::format(path, format!("an empty file, not a safetensors file: {AGAIN}")));
    }
    if let Some(text) = text(bytes) {
        return Err(Error::format(path, text));
    }
    if is_gguf(bytes) {
        return Err(Error::format(path, "a GGUF file, expected safetensors; name it to open it"));
    }
    // A header length may begin with any bytes; the JSON object after it decides.
    if bytes.get(HEAD) == Some(&b'{') {
        return Ok(());
    }
    if is_pickle(path, bytes) {
        return Err(Error::format(path, pickle_advice(path)));
    }
    if has_pickle_name(path) {
        let problem = "neither a safetensors file nor a PyTorch pickle, which its name says that it is";
        return Err(Error::format(path, format!("{problem}: {AGAIN}")));
    }
    Ok(())
}

/// Whether `bytes` are what PyTorch saves: an archive with a pickle in it, by what it holds or by its name, or the pickle alone.
fn is_pickle(path: &Path, bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(ARCHIVE_HEAD)];
    let archive = head.starts_with(b"PK\x03\x04")
        && (has_pickle_name(path) || head.windows(8).any(|name| name == b"data.pkl"));
    archive || matches!(bytes, [0x80, 2..=5, ..])
}

/// What `bytes` are if they are text, which no length of a header looks like: eight printable characters would be
/// more than 10^17.
fn text(bytes: &[u8]) -> Option<String> {
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let begin = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if begin.len() < HEAD || !begin[..HEAD].iter().all(printable) {
        return None;
    }
    if let Some(pointer) = pointer(bytes) {
        return Some(pointer.to_owned());
    }
    let head = String::from_utf8_lossy(&begin[..begin.len().min(4 * SHOWN)]);
    let line: String = head.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect();
    let kind = match line.chars().next() {
        Some('<') => "a web page",
        Some('{' | '[') => "JSON",
        _ => "text",
    };
    Some(format!("not a safetensors file but {kind}, which begins with {line}: download the file again"))
}

/// What to do where `bytes` are what Git LFS leaves in the place of a file.
pub(crate) fn pointer(bytes: &[u8]) -> Option<&'static str> {
    bytes
        .starts_with(POINTER)
        .then_some("a pointer of Git LFS in the place of the file: `git lfs pull` brings the file")
}

/// Whether a file's name says that it is a PyTorch pickle of weights.
pub(crate) fn has_pickle_name(path: &Path) -> bool {
    let lower =
        |name: Option<&std::ffi::OsStr>| name.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let (stem, end) = (lower(path.file_stem()), lower(path.extension()));
    ["bin", "pt", "pth", "ckpt", "pkl"].contains(&end.as_str())
        && !OF_TRAINING.contains(&stem.as_str())
        && !stem.starts_with("rng_state")
}

/// Why a pickle is not read, and how to convert it.
fn pickle_advice(path: &Path) -> String {
    // transformers' own files have this end; others hold a dictionary of tensors at best.
    let how = if path.extension().is_some_and(|end| end == "bin") {
        "from transformers import AutoModelForCausalLM; \
         AutoModelForCausalLM.from_pretrained(\"DIRECTORY\").save_pretrained(\"NEW\")"
            .to_owned()
    } else {
        format!(
            "import torch, safetensors.torch as st; \
             st.save_file(torch.load(\"{}\", map_location=\"cpu\", weights_only=True), \"NEW.safetensors\"), or with \
             save_pretrained of the class that made it",
            path.display()
        )
    };
    format!(
        "a PyTorch pickle, which is not read since loading one can run code; convert it with Python: {how}"
    )
}
