//! mlx-lm: `adapters.safetensors`, and a configuration that says which layers get factors.

use super::consumer::{MAX_NAMES, some};
use crate::adapter::mlx::WEIGHTS;
use crate::adapter::peft::CONFIG;
use crate::error::Result;
use crate::jobs::check::findings::{Findings, Repair};
use crate::naming::kind::module_of;
use crate::source::json_file::read_json;
use crate::source::model::Model;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) fn check(adapter: &Path, base: &Model, findings: &mut Findings) -> Result<()> {
    let (weights, config) = (adapter.join(WEIGHTS), adapter.join(CONFIG));
    if !weights.is_file() || !config.is_file() {
        findings.error(
            "wrong-format",
            None,
            format!("mlx-lm reads a directory with {WEIGHTS} and adapter_config.json"),
        );
        findings.repaired_by(Repair::Mlx);
        return Ok(());
    }
    let json = read_json(&config)?;
    let config = json.root();
    let [layers, parameters] = config.pick(["num_layers", "lora_parameters"]);
    let rank = parameters.at("rank").number();
    for (field, missing) in [
        ("num_layers", layers.number().is_none()),
        ("lora_parameters.rank", rank.is_none()),
        ("lora_parameters.scale", parameters.at("scale").number().is_none()),
        ("lora_parameters.dropout", parameters.at("dropout").number().is_none()),
    ] {
        if missing {
            findings.error(
                "missing-field",
                None,
                format!("its configuration has no {field}, without which mlx-lm stops"),
            );
            findings.repaired_by(Repair::Mlx);
        }
    }
    let keys = parameters.at("keys").texts(MAX_NAMES);
    let stored = Model::open(&weights)?;
    let checkpoint: BTreeSet<&str> = base.tensors().map(|(name, _)| module_of(name)).collect();
    let (mut others, mut unread, mut unkeyed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut first = f64::INFINITY;
    for (_, tensor) in stored.tensors() {
        let name = tensor.stored_name();
        let Some((module, is_a)) = name
            .strip_suffix(".lora_a")
            .map(|module| (module, true))
            .or_else(|| name.strip_suffix(".lora_b").map(|module| (module, false)))
        else {
            others.push(name);
            continue;
        };
        let shape = tensor.shape();
        let own = if is_a { shape.last() } else { shape.len().checked_sub(2).and_then(|at| shape.get(at)) };
        if rank.is_some_and(|rank| own.is_none_or(|&own| own as f64 != rank)) {
            let expected = if is_a { "[in, rank]" } else { "[rank, out]" };
            let message =
                format!("its shape is {shape:?}, expected {expected} with the rank of the configuration");
            findings.error("rank-mismatch", Some(name), message);
        }
        if !checkpoint.contains(module) && !module.contains("switch_mlp") {
            unread.insert(module);
        }
        let within = module.split_once(".layers.").and_then(|(_, rest)| rest.split_once('.'));
        if let Some((number, path)) = within {
            first = first.min(number.parse().unwrap_or(f64::INFINITY));
            if keys.as_ref().is_some_and(|keys| !keys.iter().any(|key| key == path)) {
                unkeyed.insert(path);
            }
        }
    }
    if !others.is_empty() {
        findings.error("bad-suffix", None, format!("no factors of mlx-lm: {}", some(others.into_iter())));
    }
    if !unread.is_empty() {
        let names: Vec<_> = unread.into_iter().collect();
        findings.warning(
            "unread",
            None,
            format!("the base has no such modules: {}; nobody reads them", some(names.into_iter())),
        );
    }
    if !unkeyed.is_empty() {
        let names: Vec<_> = unkeyed.into_iter().collect();
        let message = format!(
            "lora_parameters.keys does not name {}: mlx-lm passes over their factors",
            some(names.into_iter())
        );
        findings.warning("untargeted", None, message);
        findings.repaired_by(Repair::Mlx);
    }
    if let (Some(layers), Some(all)) = (layers.number(), base.config().layers)
        && layers >= 0.0
        && first < all as f64 - layers
    {
        let message = format!(
            "num_layers is {layers} of {all}, so that mlx-lm passes over the factors of layer {first}"
        );
        findings.warning("untargeted", None, message);
        findings.repaired_by(Repair::Mlx);
    }
    Ok(())
}
