//! What `phlora inspect` finds, module by module and as JSON.

use crate::print::{self, percent};
use crate::table::Table;
use phlora::{AdapterFacts, Container, Contents, Count, ModelFacts};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Every module of an adapter or a report, every tensor of a model.
pub fn listed(contents: &Contents) -> String {
    let shape = |axes: &[usize]| axes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
    let mut table;
    match contents {
        Contents::Model(facts) => {
            table = Table::new(&["tensor", "shape", "dtype"]);
            for tensor in &facts.tensors {
                table.row(vec![tensor.name.clone(), shape(&tensor.shape), tensor.dtype.clone()]);
            }
        }
        Contents::Adapter(facts) => {
            table = Table::new(&["module", "out × in", "rank", "scale", "dtype"]);
            for module in &facts.listed {
                let (rank, scale) = (module.rank.to_string(), module.scale.to_string());
                table.row(vec![module.name.clone(), shape(&module.shape), rank, scale, module.dtype.clone()]);
            }
        }
        Contents::Report(report) => {
            table = Table::new(&["module", "out × in", "rank", "energy"]);
            for module in &report.modules {
                let (rank, energy) = (module.rank.to_string(), percent(module.energy));
                table.row(vec![module.name.clone(), shape(&module.shape), rank, energy]);
            }
        }
    }
    table.render()
}

/// The same facts for programs.
pub fn as_json(contents: &Contents, every: bool) -> Value {
    match contents {
        Contents::Model(facts) => model(facts, every),
        Contents::Adapter(facts) => adapter(facts, every),
        Contents::Report(report) => {
            json!({"kind": "report", "report": print::value(serde_json::to_string(report.as_ref()))})
        }
    }
}

fn model(facts: &ModelFacts, every: bool) -> Value {
    let (container, architecture) = match &facts.container {
        Container::Gguf { architecture, .. } => ("gguf", architecture),
        _ => ("safetensors", &facts.config.architecture),
    };
    let mut json = json!({
        "kind": "model",
        "container": container,
        "architecture": architecture,
        "model_type": facts.config.model_type,
        "tied": facts.config.tied,
        "quantization": facts.quantization,
        "files": facts.files,
        "total": count(&facts.total),
        "kinds": counts(facts.kinds.iter().map(|(kind, count)| (kind.label().to_owned(), count))),
        "dtypes": by_name(&facts.dtypes),
    });
    if every {
        let tensor = |tensor: &phlora::TensorFacts| json!({"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype});
        json["tensors"] = facts.tensors.iter().map(tensor).collect();
    }
    json
}

fn adapter(facts: &AdapterFacts, every: bool) -> Value {
    let mut json = json!({
        "kind": "adapter",
        "format": facts.format.word(),
        "architecture": facts.architecture,
        "base": facts.base_name,
        "rank": facts.rank,
        "alpha": facts.alpha,
        "least_scale": facts.scales.0,
        "largest_scale": facts.scales.1,
        "modules": facts.modules,
        "factors": count(&facts.total),
        "full": count(&facts.full),
        "dtypes": by_name(&facts.dtypes),
        "suffixes": by_name(&facts.suffixes),
    });
    if every {
        let module = |module: &phlora::AdapterModule| {
            json!({
                "name": module.name,
                "shape": module.shape,
                "rank": module.rank,
                "scale": module.scale,
                "dtype": module.dtype,
            })
        };
        json["listed"] = facts.listed.iter().map(module).collect();
    }
    json
}

fn count(count: &Count) -> Value {
    json!({"tensors": count.tensors, "weights": count.parameters, "bytes": count.bytes})
}

fn by_name(named: &BTreeMap<String, Count>) -> Value {
    counts(named.iter().map(|(name, count)| (name.clone(), count)))
}

fn counts<'c>(named: impl Iterator<Item = (String, &'c Count)>) -> Value {
    Value::Object(named.map(|(name, all)| (name, count(all))).collect::<Map<_, _>>())
}
