//! Writes the file: a safetensors container with a tensor of bytes per module.

use super::{ADAPTER_KEY, LEVELS, VERSION, VERSION_KEY};
use crate::adapter::packed::{Packed, all_levels};
use crate::adapter::{Effect, FullTensor, Lora, LoraModule, Naming, Target};
use crate::error::{Error, Result};
use crate::source::safetensors::framed;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// A file on its way.
struct File<'l> {
    /// Length, JSON and padding.
    header: Vec<u8>,
    modules: Vec<(&'l LoraModule<'l>, &'l Packed)>,
    levels: Vec<u8>,
    /// Bytes of the tensors.
    data: usize,
}

/// Writes `lora`, whose factors are in the compact form, and gives the number of bytes.
///
/// # Errors
/// When factors are in another form, or names are those of single files; and what `out` refuses.
pub(crate) fn write(lora: &Lora<'_>, out: &mut impl Write) -> Result<u64> {
    let failed = |e: io::Error| Error::io("the adapter".as_ref(), "write", e);
    let file = file(lora)?;
    out.write_all(&file.header).map_err(failed)?;
    for (module, packed) in &file.modules {
        out.write_all(&packed.bytes(module.shape())).map_err(failed)?;
    }
    out.write_all(&file.levels).map_err(failed)?;
    for tensor in &lora.full {
        out.write_all(&tensor.values.encoded()?).map_err(failed)?;
    }
    Ok((file.header.len() + file.data) as u64)
}

/// Bytes that [`write`] will write; the numbers of bits are all that it needs of the codes.
pub(crate) fn length(lora: &Lora<'_>) -> Result<u64> {
    let file = file(lora)?;
    Ok((file.header.len() + file.data) as u64)
}

fn file<'l>(lora: &'l Lora<'_>) -> Result<File<'l>> {
    lora.check()?;
    if lora.naming == Naming::Single {
        let problem =
            "the compact form has modules under the names of a checkpoint or of GGUF, not of single files";
        return Err(Error::usage(problem.into()));
    }
    let (mut entries, mut data) = (Map::new(), 0_usize);
    let metadata = json!({VERSION_KEY: VERSION, ADAPTER_KEY: about(lora).to_string()});
    entries.insert("__metadata__".to_owned(), metadata);
    let mut add = |name: &str, dtype: &str, shape: Value, bytes: usize| -> Result<()> {
        let end = data.checked_add(bytes).ok_or_else(|| Error::usage("too large for a file".into()))?;
        entries.insert(name.to_owned(), json!({"dtype": dtype, "shape": shape, "data_offsets": [data, end]}));
        data = end;
        Ok(())
    };
    let mut modules: Vec<_> =
        lora.modules.iter().map(|module| Ok((module, codes(module)?))).collect::<Result<_>>()?;
    modules.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    for (module, packed) in &modules {
        let bytes = packed.len(module.shape()).ok_or_else(|| module.a.error("too large for a file"))?;
        add(&module.name, "U8", json!([bytes]), bytes)?;
    }
    let most = modules.iter().flat_map(|(_, packed)| &packed.bits).copied().max().unwrap_or(0);
    let levels = all_levels(most);
    add(LEVELS, "F16", json!([levels.len() / 2]), levels.len())?;
    for tensor in &lora.full {
        let bytes = tensor.values.encoded_len().ok_or_else(|| tensor.values.error("too large for a file"))?;
        add(&tensor.name, tensor.values.dtype().name(), json!(tensor.shape), bytes)?;
    }
    let header = framed(serde_json::to_vec(&Value::Object(entries)).unwrap_or_default());
    Ok(File { header, modules, levels, data })
}

/// The codes that the factors of a module were made of and still are.
fn codes<'l>(module: &'l LoraModule<'_>) -> Result<&'l Packed> {
    match (module.a.codes(), module.b.codes()) {
        (Some(a), Some(b)) if std::ptr::eq(a, b) => Ok(a),
        _ => Err(module.a.error(format!(
            "the factors of {} are not in phlora's compact form; phlora prune makes it of any adapter",
            module.name
        ))),
    }
}

/// What is to be known beside the factors; what is as usual is left out.
fn about(lora: &Lora<'_>) -> Value {
    let mut about = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            about.insert(key.to_owned(), value);
        }
    };
    add("naming", (lora.naming == Naming::Gguf).then(|| json!("gguf")));
    add("base", lora.base_name.as_ref().map(|name| json!(name)));
    add("architecture", lora.architecture.as_ref().map(|name| json!(name)));
    add("task", lora.task.as_ref().map(|task| json!(task)));
    add("class", lora.class.as_ref().map(|class| json!(class)));
    add("targets", lora.targets.as_ref().map(|targets| json!(targets)));
    add("fan_in_fan_out", lora.fan_in_fan_out.then_some(Value::Bool(true)));
    let paths: Map<_, _> = lora
        .modules
        .iter()
        .filter_map(|module| {
            let spelled = lora.spelling.in_file(&module.name);
            (spelled != module.name).then(|| (spelled.into_owned(), json!(module.name)))
        })
        .collect();
    add("paths", (!paths.is_empty()).then_some(Value::Object(paths)));
    let modules: Map<_, _> = lora.modules.iter().filter_map(unusual).collect();
    add("modules", (!modules.is_empty()).then_some(Value::Object(modules)));
    let full: Map<_, _> = lora.full.iter().map(effect).collect();
    add("full", (!full.is_empty()).then_some(Value::Object(full)));
    Value::Object(about)
}

/// What a module is beside a linear one of scale 1.
fn unusual(module: &LoraModule<'_>) -> Option<(String, Value)> {
    let mut about = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            about.insert(key.to_owned(), value);
        }
    };
    add("scale", (module.scale != 1.0).then(|| json!(module.scale)));
    add("kernel", (!module.kernel.is_empty()).then(|| json!(module.kernel)));
    add("expert", module.expert.map(|expert| json!([expert.index, expert.count])));
    add("embedding", module.embedding.then_some(Value::Bool(true)));
    let target = match module.target {
        Target::Module => None,
        Target::Weight => Some("weight"),
        Target::Attention => Some("attention"),
        Target::Parameter => Some("parameter"),
    };
    add("target", target.map(|target| json!(target)));
    (!about.is_empty()).then(|| (module.name.to_string(), Value::Object(about)))
}

/// What a tensor beside the factors does.
fn effect(tensor: &FullTensor<'_>) -> (String, Value) {
    let mut about = match &tensor.effect {
        Effect::Adds(scale) => json!({"adds": scale}),
        Effect::Replaces => json!({}),
        Effect::Rows(rows) => json!({"rows": rows}),
    };
    if let Some(whole) = &tensor.whole {
        about["whole"] = json!(whole);
    }
    (tensor.name.to_string(), about)
}
