//! `adapter_config.json`: the one PEFT needs to load what is written here, and what is read of any other.

use super::fields::{Fields, names, token_rows};
use super::pattern::Patterns;
use super::target::{Target, targets};
use crate::adapter::targets::names_module;
use crate::adapter::{self, Lora};
use crate::error::{Error, Result};
use crate::source::json::Json;
use crate::source::json_file::read_json;
use serde::Serialize;
use serde_json::Number;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// All fields that PEFT and the servers look at, in PEFT's spelling.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_excessive_bools)] // the format's
struct Written<'l> {
    peft_type: &'static str,
    task_type: Option<&'l str>,
    /// Only where there is no task, by which AutoPeft would else find the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_mapping: Option<AutoMapping<'l>>,
    base_model_name_or_path: Option<&'l str>,
    r: usize,
    lora_alpha: Number,
    target_modules: Vec<&'l str>,
    /// Only where there are any: readers that do not know the field may refuse it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    target_parameters: Vec<&'l str>,
    exclude_modules: Option<()>,
    rank_pattern: Pattern<'l, usize>,
    alpha_pattern: Pattern<'l, Number>,
    modules_to_save: Option<&'l [&'l str]>,
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
    /// Only where there are any: readers that do not know the field may refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    trainable_token_indices: Option<&'l BTreeMap<&'l str, &'l [usize]>>,
}

/// What PEFT imports to load the base.
#[derive(Debug, Serialize)]
struct AutoMapping<'l> {
    base_model_class: &'l str,
    parent_library: &'static str,
}

/// The package that has every class of transformers.
const LIBRARY: &str = "transformers";

/// The class that the field `auto_mapping` names, where it is one of transformers.
fn class(mapping: Json<'_>) -> Option<String> {
    let library = mapping.at("parent_library").text()?;
    let known = library.split('.').next() == Some(LIBRARY);
    mapping.at("base_model_class").text().filter(|_| known).map(Cow::into_owned)
}

/// An object whose first key that matches a module counts, so that the order matters.
#[derive(Debug)]
struct Pattern<'l, V>(Vec<(&'l str, V)>);

impl<V: Serialize> Serialize for Pattern<'_, V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// The configuration of `lora`, as JSON, with the `fields` of what it holds beside factors.
///
/// `r` is the largest rank, and `lora_alpha` gives the scale of the modules that have it; α = r where that is 1, so
/// that the scale is 1 whatever formula a consumer uses. Modules of another rank or scale are listed in the patterns
/// by their full path.
pub(super) fn written(lora: &Lora<'_>, fields: &Fields<'_>) -> Result<String> {
    let mut wrapped = targets(lora)?;
    // The path of an attention stands for both of its projections.
    let both = wrapped.iter().any(|target| target.modules[0].target == adapter::Target::Attention);
    let mut keys = BTreeSet::new();
    wrapped.retain(|target| keys.insert(target.key.clone()));
    let rank = lora.rank();
    let scale = lora.modules.iter().find(|module| module.rank() == rank).map_or(1.0, |module| module.scale);
    let alpha = alpha(scale, rank);
    let ranks = pattern(&wrapped, |target| (target.rank, target.rank != rank));
    let alphas = pattern(&wrapped, |target| {
        let own = self::alpha(target.scale, target.rank);
        (number(own), own != alpha)
    });
    let mut parameters: Vec<_> = wrapped.iter().filter(|t| t.parameter).map(|t| t.key.as_str()).collect();
    parameters.sort_unstable();
    // What is read may have targets that pass over modules with factors.
    let reach = |targets: &[String]| {
        let named = |key: &str| targets.iter().any(|target| names_module(target, key));
        wrapped.iter().filter(|t| !t.parameter).all(|t| named(&t.key))
    };
    let config = Written {
        peft_type: "LORA",
        task_type: lora.task.as_deref(),
        auto_mapping: lora
            .class
            .as_deref()
            .filter(|_| lora.task.is_none())
            .map(|class| AutoMapping { base_model_class: class, parent_library: LIBRARY }),
        base_model_name_or_path: lora.base_name.as_deref(),
        r: rank,
        lora_alpha: number(alpha),
        target_modules: match &lora.targets {
            Some(targets) if !both && reach(targets) => targets.iter().map(String::as_str).collect(),
            _ => wrapped.iter().filter(|t| !t.parameter).map(|t| t.key.as_str()).collect(),
        },
        target_parameters: parameters,
        exclude_modules: None,
        rank_pattern: ranks,
        alpha_pattern: alphas,
        modules_to_save: Some(fields.modules_to_save.as_slice()).filter(|modules| !modules.is_empty()),
        bias: fields.bias,
        lora_bias: fields.lora_bias,
        lora_dropout: 0.0,
        use_rslora: false,
        use_dora: false,
        fan_in_fan_out: lora.fan_in_fan_out,
        init_lora_weights: true,
        inference_mode: true,
        layers_to_transform: None,
        layers_pattern: None,
        trainable_token_indices: Some(&fields.tokens).filter(|tokens| !tokens.is_empty()),
    };
    let mut json = serde_json::to_string_pretty(&config).unwrap_or_default();
    json.push('\n');
    Ok(json)
}

/// The alpha that gives `scale` at `rank`: a whole one where the difference is rounding.
fn alpha(scale: f64, rank: usize) -> f64 {
    let alpha = scale * rank as f64;
    if (alpha - alpha.round()).abs() <= 1e-12 * alpha.abs() { alpha.round() } else { alpha }
}

/// A whole number without a decimal point, which some readers insist on.
fn number(value: f64) -> Number {
    let whole = value.fract() == 0.0 && value.abs() < 9e15;
    if whole { Number::from(value as i64) } else { Number::from_f64(value).unwrap_or_else(|| 0.into()) }
}

/// The targets for which `value` says that they are to be listed, with what it gives.
///
/// A key also matches modules whose path merely ends with it after a dot; those are listed too, and before it.
fn pattern<'t, V>(targets: &'t [Target<'_>], value: impl Fn(&Target<'_>) -> (V, bool)) -> Pattern<'t, V> {
    let (mut listed, others): (Vec<_>, Vec<_>) =
        targets.iter().map(|target| (target.key.as_str(), value(target))).partition(|(_, (_, list))| *list);
    let hit = |name: &str, listed: &[(&str, (V, bool))]| {
        let ends = |key: &str| name.strip_suffix(key).is_some_and(|rest| rest.ends_with('.'));
        listed.iter().any(|(key, _)| ends(key))
    };
    let (hit, _): (Vec<_>, Vec<_>) = others.into_iter().partition(|(name, _)| hit(name, &listed));
    listed.extend(hit);
    // Stable: among those of one length the order stays.
    listed.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    Pattern(listed.into_iter().map(|(name, (value, _))| (name, value)).collect())
}

/// What decides rank and scale of each module of an adapter.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the file")]
pub(crate) struct AdapterConfig {
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) base_name: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) class: Option<String>,
    /// Where it is a list; a regular expression is not kept.
    pub(crate) targets: Option<Vec<String>>,
    /// Parameters with factors, or the ends of their names.
    pub(super) parameters: Vec<String>,
    pub(crate) fan_in_fan_out: bool,
    /// Modules that are stored whole, or the ends of their paths.
    saved: Vec<String>,
    /// Whether values of biases are stored.
    pub(super) biases: bool,
    /// Rows of the modules' weights; the module is empty where it is the input embedding.
    tokens: Vec<(String, Vec<usize>)>,
    rslora: bool,
    dora: bool,
    ranks: Patterns,
    alphas: Patterns,
}

impl AdapterConfig {
    /// Reads `adapter_config.json` at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let json = read_json(path)?;
        let json = json.root();
        let bad = |problem: &str| Error::format(path, problem);
        let [kind, dora, rank, alpha, base_name, task, modules, parameters, fan_in_fan_out] = json.pick([
            "peft_type",
            "use_dora",
            "r",
            "lora_alpha",
            "base_model_name_or_path",
            "task_type",
            "target_modules",
            "target_parameters",
            "fan_in_fan_out",
        ]);
        let [saved, bias, rslora, tokens, ranks, alphas] = json.pick([
            "modules_to_save",
            "bias",
            "use_rslora",
            "trainable_token_indices",
            "rank_pattern",
            "alpha_pattern",
        ]);
        match kind.text().as_deref() {
            Some("LORA" | "LOHA" | "LOKR") => {}
            Some(other) => {
                return Err(bad(&format!(
                    "its peft_type is {other}, expected LORA, LOHA or LOKR: other adapters are not read"
                )));
            }
            None => return Err(bad("its peft_type is not LORA")),
        }
        // PEFT's default of both is 8.
        let alpha = if kind.text().as_deref() == Some("LORA") { alpha } else { json.at("alpha") };
        let number = |value: Json<'_>| if value.is_null() { Some(8.0) } else { value.number() };
        let rank = number(rank).filter(|r| *r >= 1.0 && r.fract() == 0.0 && *r < 1e9);
        let alpha = number(alpha).filter(|alpha| alpha.is_finite());
        Ok(Self {
            rank: whole(rank.ok_or_else(|| bad("its r is not a rank of at least 1"))?),
            alpha: alpha.ok_or_else(|| bad("its lora_alpha is not a number"))?,
            base_name: base_name.text().map(Cow::into_owned),
            task: task.text().map(Cow::into_owned),
            class: class(json.at("auto_mapping")),
            targets: names(modules),
            parameters: names(parameters).unwrap_or_default(),
            fan_in_fan_out: fan_in_fan_out.bool().unwrap_or(false),
            saved: names(saved).unwrap_or_default(),
            biases: bias.text().is_some_and(|bias| bias != "none"),
            tokens: token_rows(path, tokens)?,
            rslora: rslora.bool().unwrap_or(false),
            dora: dora.bool().unwrap_or(false),
            ranks: Patterns::read(path, "rank_pattern", ranks, 1.0)?,
            alphas: Patterns::read(path, "alpha_pattern", alphas, f64::MIN)?,
        })
    }

    /// Whether `module` is stored whole.
    pub(super) fn saves(&self, module: &str) -> bool {
        self.saved.iter().any(|saved| module.ends_with(saved.as_str()))
    }

    /// The module above `module` that is stored whole.
    pub(super) fn saved_above<'m>(&self, module: &'m str) -> Option<&'m str> {
        module.match_indices('.').map(|(end, _)| &module[..end]).find(|above| self.saves(above))
    }

    /// Whether the pairs have magnitudes.
    pub(super) fn is_dora(&self) -> bool {
        self.dora
    }

    /// Which rows of the weight of `module` are stored.
    pub(super) fn tokens(&self, module: &str) -> Option<&[usize]> {
        let named =
            |name: &str| module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let found = self.tokens.iter().find(|(name, _)| name.is_empty() || named(name));
        found.map(|(_, rows)| rows.as_slice())
    }

    /// Rank and scale of `module`, as PEFT computes them.
    pub(crate) fn rank_and_scale(&self, module: &str) -> (usize, f64) {
        let rank = self.ranks.number(module).map_or(self.rank, whole);
        let alpha = self.alphas.number(module).unwrap_or(self.alpha);
        let r = rank as f64;
        (rank, alpha / if self.rslora { r.sqrt() } else { r })
    }
}

/// A number checked to be a small whole one; what is left of a fraction never equals a tensor's rank.
#[allow(clippy::cast_sign_loss)] // checked above to be at least 1
fn whole(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests;
