//! `adapter_config.json`: the one PEFT needs to load what is written here, and what is read of any other.

use crate::config::read_json;
use crate::error::{Error, Result};
use crate::extract::Extraction;
use regex::Regex;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// All fields that PEFT and the servers look at, in PEFT's spelling.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_excessive_bools)] // the format's
struct Written<'e> {
    peft_type: &'static str,
    task_type: Option<&'static str>,
    base_model_name_or_path: &'e str,
    r: usize,
    lora_alpha: usize,
    target_modules: &'e [String],
    exclude_modules: Option<()>,
    rank_pattern: Empty,
    alpha_pattern: Empty,
    modules_to_save: Option<()>,
    bias: &'static str,
    lora_bias: bool,
    lora_dropout: f32,
    use_rslora: bool,
    use_dora: bool,
    fan_in_fan_out: bool,
    init_lora_weights: bool,
    inference_mode: bool,
    layers_to_transform: Option<()>,
    layers_pattern: Option<()>,
}

#[derive(Debug, Serialize)]
struct Empty {}

/// The configuration of an extracted adapter, as JSON.
pub(crate) fn written(extraction: &Extraction) -> String {
    let config = Written {
        peft_type: "LORA",
        task_type: extraction.causal.then_some("CAUSAL_LM"),
        base_model_name_or_path: &extraction.base_name,
        r: extraction.rank(),
        // α = r, so that the scale is 1 whatever formula a consumer uses.
        lora_alpha: extraction.rank(),
        target_modules: &extraction.targets,
        exclude_modules: None,
        rank_pattern: Empty {},
        alpha_pattern: Empty {},
        modules_to_save: None,
        bias: "none",
        lora_bias: false,
        lora_dropout: 0.0,
        use_rslora: false,
        use_dora: false,
        fan_in_fan_out: extraction.modules.iter().any(|module| module.transposed),
        init_lora_weights: true,
        inference_mode: true,
        layers_to_transform: None,
        layers_pattern: None,
    };
    let mut json = serde_json::to_string_pretty(&config).unwrap_or_default();
    json.push('\n');
    json
}

/// What decides rank and scale of each module of an adapter.
#[derive(Debug)]
pub(crate) struct AdapterConfig {
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) base_name: Option<String>,
    rslora: bool,
    ranks: Vec<(Regex, f64)>,
    alphas: Vec<(Regex, f64)>,
}

impl AdapterConfig {
    /// Reads `adapter_config.json` at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let json = read_json(path)?;
        let bad = |problem: &str| Error::format(path, problem);
        if json["peft_type"].as_str() != Some("LORA") {
            return Err(bad("its peft_type is not LORA"));
        }
        if json["use_dora"].as_bool() == Some(true) {
            return Err(bad("a DoRA adapter, which is not read"));
        }
        // PEFT's default of both is 8.
        let number = |value: &Value| if value.is_null() { Some(8.0) } else { value.as_f64() };
        let rank = number(&json["r"]).filter(|r| *r >= 1.0 && r.fract() == 0.0 && *r < 1e9);
        let alpha = number(&json["lora_alpha"]).filter(|alpha| alpha.is_finite());
        Ok(Self {
            rank: whole(rank.ok_or_else(|| bad("its r is not a rank of at least 1"))?),
            alpha: alpha.ok_or_else(|| bad("its lora_alpha is not a number"))?,
            base_name: json["base_model_name_or_path"].as_str().map(str::to_owned),
            rslora: json["use_rslora"].as_bool().unwrap_or(false),
            ranks: patterns(path, "rank_pattern", &json)?,
            alphas: patterns(path, "alpha_pattern", &json)?,
        })
    }

    /// Rank and scale of `module`, as PEFT computes them.
    pub(crate) fn rank_and_scale(&self, module: &str) -> (usize, f64) {
        let first = |patterns: &[(Regex, f64)]| {
            patterns.iter().find(|(key, _)| key.is_match(module)).map(|(_, value)| *value)
        };
        let rank = first(&self.ranks).map_or(self.rank, whole);
        let alpha = first(&self.alphas).unwrap_or(self.alpha);
        let r = rank as f64;
        (rank, alpha / if self.rslora { r.sqrt() } else { r })
    }
}

/// A pattern's keys match a module's whole path or the end of it after a dot, as PEFT does it.
fn patterns(path: &Path, field: &str, json: &Value) -> Result<Vec<(Regex, f64)>> {
    let Some(object) = json[field].as_object() else { return Ok(Vec::new()) };
    let one = |(key, value): (&String, &Value)| {
        let regex = Regex::new(&format!(r"^(.*\.)?({key})$")).ok()?;
        Some((regex, value.as_f64().filter(|v| v.is_finite() && *v >= 1.0)?))
    };
    object
        .iter()
        .map(|pair| {
            one(pair).ok_or_else(|| {
                Error::format(
                    path,
                    format!("{field}: {} is not a pattern with a number of at least 1", pair.0),
                )
            })
        })
        .collect()
}

/// A number checked to be a small whole one; what is left of a fraction never equals a tensor's rank.
#[allow(clippy::cast_sign_loss)] // checked above to be at least 1
fn whole(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<AdapterConfig> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("adapter_config.json");
        std::fs::write(&path, json).unwrap();
        AdapterConfig::read(&path)
    }

    #[test]
    fn scale_follows_the_patterns() {
        let config = read(
            r#"{"peft_type":"LORA","r":8,"lora_alpha":16,
                "rank_pattern":{"layers.0.q_proj":4},"alpha_pattern":{"q_proj":2}}"#,
        )
        .unwrap();
        assert_eq!(config.rank_and_scale("model.layers.0.q_proj"), (4, 0.5));
        assert_eq!(config.rank_and_scale("model.layers.10.q_proj"), (8, 0.25));
        assert_eq!(config.rank_and_scale("model.layers.0.k_proj"), (8, 2.0));
        let rslora = read(r#"{"peft_type":"LORA","r":16,"lora_alpha":16,"use_rslora":true}"#).unwrap();
        assert_eq!(rslora.rank_and_scale("x"), (16, 4.0));
    }

    #[test]
    fn refuses_what_it_cannot_scale() {
        for json in [
            "{}",
            r#"{"peft_type":"LOHA"}"#,
            r#"{"peft_type":"LORA","r":0}"#,
            r#"{"peft_type":"LORA","r":"8"}"#,
            r#"{"peft_type":"LORA","use_dora":true}"#,
            r#"{"peft_type":"LORA","rank_pattern":{"(":4}}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
