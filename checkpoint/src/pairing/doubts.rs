//! Signs that two models are no pair, without reading their weights.

use crate::error::{Error, Result};
use crate::naming::kind::{Kind, is_number, kind_of, suffix_of};
use crate::source::config::Config;
use crate::source::locate::AN_ADAPTER;
use crate::source::model::Model;
use crate::source::tokenizer;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What the names of tensors hold that only adapters have.
const FACTORS: [&str; 10] = [
    ".lora_A.",
    ".lora_B.",
    ".lora_down.",
    ".lora_up.",
    ".lora_embedding_",
    ".lora_magnitude_vector",
    ".weight.lora_",
    ".hada_w",
    ".lokr_w",
    ".dora_scale",
];

/// Files that training leaves beside its result.
const OF_TRAINING: [&str; 3] = ["trainer_state.json", "training_args.bin", "optimizer.pt"];

/// Bytes of a model card in which its base is looked for.
const CARD: u64 = 1 << 16;

/// Dates of files that are closer than this do not tell which model came first.
const TOGETHER: Duration = Duration::from_secs(3600);

/// Refuses adapters in the place of models, and models of different widths, before their tensors are compared.
pub(crate) fn check_sides(base: &Model, tuned: &Model) -> Result<()> {
    for model in [base, tuned] {
        if is_adapter(model) {
            return Err(Error::format(model.path(), AN_ADAPTER));
        }
    }
    let width = |model: &Model| model.config().hidden_size;
    if let (Some(own), Some(other)) = (width(tuned), width(base))
        && own != other
    {
        let problem = format!(
            "its hidden_size is {own}, but that of {} is {other}: not a fine-tune of this base",
            base.path().display()
        );
        return Err(Error::format(tuned.path(), problem));
    }
    Ok(())
}

/// Whether most tensors are those of an adapter, which may hold whole modules as well.
fn is_adapter(model: &Model) -> bool {
    let (mut all, mut factors) = (0_usize, 0_usize);
    for (name, tensor) in model.tensors() {
        all += 1;
        let scalar = suffix_of(name) == "alpha" && tensor.len() == 1;
        factors += usize::from(scalar || FACTORS.iter().any(|known| name.contains(known)));
    }
    2 * factors > all
}

/// All that is doubtful.
pub(crate) fn doubts(base: &Model, tuned: &Model) -> Vec<String> {
    let mut doubts: Vec<_> =
        [types(base, tuned), layers(base, tuned), swapped(base, tuned), rounded(base, tuned)]
            .into_iter()
            .flatten()
            .collect();
    doubts.extend(tokenizer::doubt(base, tuned));
    doubts
}

/// Another type, unless one model is within the other.
fn types(base: &Model, tuned: &Model) -> Option<String> {
    let (own, other) = (tuned.config(), base.config());
    let within = |inner: &Config, whole: &Config| {
        inner.model_type.as_ref().is_some_and(|own| whole.sub_configs.values().any(|one| one == own))
    };
    let (one, another) = (own.model_type.as_ref()?, other.model_type.as_ref()?);
    (one != another && !within(own, other) && !within(other, own)).then(|| {
        format!(
            "{} is a {one} model, {} a {another} model: only weights of the same name and shape are compared",
            tuned.path().display(),
            base.path().display()
        )
    })
}

/// Another number of layers, by the configurations or else by the names.
fn layers(base: &Model, tuned: &Model) -> Option<String> {
    let stated = tuned.config().layers.zip(base.config().layers);
    let (own, other) = stated.or_else(|| {
        let (own, other) = (lists(tuned), lists(base));
        let both = own.into_iter().filter_map(|(list, count)| Some((count, *other.get(list)?)));
        both.max().filter(|(own, other)| own != other)
    })?;
    (own != other).then(|| {
        format!(
            "{} has {own} layers, {} {other}: layers that one of them lacks are not compared",
            tuned.path().display(),
            base.path().display()
        )
    })
}

/// The lists of modules at the top of a model, and how many they hold.
fn lists(model: &Model) -> BTreeMap<&str, usize> {
    let mut lists = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (name, _) in model.tensors() {
        let mut end = 0;
        for label in name.split('.') {
            if is_number(label) {
                lists.entry(&name[..end]).or_default().insert(label);
                break;
            }
            end += label.len() + 1;
        }
    }
    lists.into_iter().map(|(list, numbers)| (list, numbers.len())).collect()
}

/// What says that the first model was made from the second.
fn swapped(base: &Model, tuned: &Model) -> Option<String> {
    let question = "the fine-tuned model comes second, are the two swapped?";
    let (first, second) = (base.path().display(), tuned.path().display());
    let comes_from = |one: &Model, other: &Model| {
        let name = name_of(other)?;
        // A model may be saved again under its own name.
        made_from(one)
            .into_iter()
            .find(|from| last(from) == name && name_of(one).is_some_and(|own| own != name))
    };
    if let Some(from) = comes_from(base, tuned) {
        return Some(format!("{first} says that it was made from {from}: {question}"));
    }
    if comes_from(tuned, base).is_some() {
        return None;
    }
    let trained = |model: &Model| {
        let directory = directory(model)?;
        OF_TRAINING.iter().find(|name| directory.join(name).exists())
    };
    if let (Some(left), None) = (trained(base), trained(tuned)) {
        return Some(format!("{first} holds {left}, which training leaves beside its result: {question}"));
    }
    let (before, after) = (written(tuned)?, written(base)?);
    (after.duration_since(before).is_ok_and(|between| between > TOGETHER))
        .then(|| format!("the files of {second} are older than those of {first}: {question}"))
}

/// The names of the models that a model says it was made from: in its configuration, its card, or its GGUF keys.
fn made_from(model: &Model) -> Vec<String> {
    let mut names: Vec<_> = model.config().name_or_path.iter().cloned().collect();
    for (file, _) in model.gguf_files().unwrap_or_default() {
        let keys = ["general.base_model.0.name", "general.base_model.0.repo_url"];
        names.extend(keys.iter().filter_map(|key| file.str(key)).map(str::to_owned));
    }
    if let Some(directory) = directory(model) {
        names.extend(card(&directory.join("README.md")));
    }
    names
}

/// What the card of a model names as its base.
fn card(path: &Path) -> Vec<String> {
    let mut text = Vec::new();
    let Ok(file) = File::open(path) else { return Vec::new() };
    if !path.is_file() || file.take(CARD).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Vec::new();
    }
    let mut names = Vec::new();
    let mut within = false;
    for line in lines.take_while(|line| line.trim_end() != "---") {
        let value = match line.strip_prefix("base_model:") {
            Some(value) => {
                within = true;
                value
            }
            None if within && line.trim_start().starts_with("- ") => {
                line.trim_start().trim_start_matches("- ")
            }
            None => {
                within = false;
                continue;
            }
        };
        let value = value.trim().trim_matches(['"', '\'']);
        names.extend((!value.is_empty()).then(|| value.to_owned()));
    }
    names
}

/// The last name of an id, a path or an address.
fn last(name: &str) -> &str {
    name.trim_end_matches('/').rsplit('/').next().unwrap_or(name)
}

/// What a model is called: its file or directory, or its name in the hub's cache.
fn name_of(model: &Model) -> Option<String> {
    let text = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let hub =
        directory(model).filter(|path| is_snapshot(path)).and_then(|path| text(path.parent()?.parent()?));
    match hub {
        Some(id) => Some(id.rsplit("--").next().unwrap_or(&id).to_owned()),
        None => text(model.path()),
    }
}

/// Whether a directory is a snapshot of the hub's cache, whose dates are those of the download.
fn is_snapshot(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|name| name == "snapshots")
}

/// The directory that the model was named by, or the hub's.
fn directory(model: &Model) -> Option<&Path> {
    let file = model.files().next()?;
    let whole = model.path().is_dir() || model.path() != file;
    file.parent().filter(|_| whole)
}

/// When the weights were written, as far as that is not the date of a download.
fn written(model: &Model) -> Option<SystemTime> {
    if directory(model).is_some_and(is_snapshot) {
        return None;
    }
    let dates = model.files().filter_map(|file| fs::metadata(file).ok()?.modified().ok());
    dates.max()
}

/// A tuned side that is quantised, whose rounding the difference then holds as well.
fn rounded(base: &Model, tuned: &Model) -> Option<String> {
    let method = |model: &Model| {
        let mut linear =
            model.tensors().filter(|(name, tensor)| kind_of(name, tensor.shape()) == Kind::Linear);
        let stored = linear.find_map(|(_, tensor)| tensor.dtype().filter(|dtype| dtype.is_block()));
        model.quantization().or(stored.map(|dtype| dtype.name().to_owned()))
    };
    let path = |model: &Model| model.path().display().to_string();
    match (method(base), method(tuned)) {
        (None, Some(method)) => Some(format!(
            "{} is quantised ({}) and {} is not: the difference holds the rounding as well; name the fine-tuned weights \
             from before it, if you have them",
            path(tuned),
            method,
            path(base)
        )),
        _ => None,
    }
}
