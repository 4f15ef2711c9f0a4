//! The few facts of a model's `config.json` that matter here.

use crate::error::Result;
use crate::source::attention::Heads;
use crate::source::json::Json;
use crate::source::json_file::read_json_if_there;
use crate::source::quantized::Method;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Facts of `config.json`; all absent when there is no such file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `model_type`, e.g. `llama`.
    pub model_type: Option<String>,
    /// The first of `architectures`, e.g. `LlamaForCausalLM`.
    pub architecture: Option<String>,
    /// `_class_name`, which diffusers writes, e.g. `UNet2DConditionModel`.
    pub class_name: Option<String>,
    /// `_name_or_path` when it is not empty: what the model was loaded from.
    pub name_or_path: Option<String>,
    /// `tie_word_embeddings` where it is stated.
    pub tied: Option<bool>,
    /// `num_attention_heads` and `num_key_value_heads`.
    pub heads: Option<Heads>,
    /// `hidden_size`, of the language model where there are several models.
    pub hidden_size: Option<usize>,
    /// `num_hidden_layers`, likewise.
    pub layers: Option<usize>,
    /// Experts of a layer, `num_local_experts` or `num_experts`.
    pub experts: Option<usize>,
    /// How the weights are quantised, where `quantization_config` says so.
    pub quantization: Option<Method>,
    /// `model_type` of the configurations within this one, by their place, as in `text_config`.
    pub sub_configs: BTreeMap<String, String>,
    /// Widths and numbers of heads and experts by their place, as in `vision_config.num_attention_heads`.
    pub(crate) counts: BTreeMap<String, usize>,
}

/// Modules under which the causal model of a type keeps its base model, in `PreTrainedModel.base_model_prefix`.
const BASE_PREFIXES: [(&str, &str); 2] = [
    ("transformer", "gpt2 gpt_neo gptj gpt_bigcode bloom falcon codegen mpt"),
    (
        "model",
        "llama mistral mixtral qwen2 qwen3 gemma gemma2 phi phi3 olmo olmo2 granite stablelm starcoder2",
    ),
];

/// Numbers of a configuration.
const NUMBERS: [&str; 6] = [
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_size",
    "num_hidden_layers",
    "num_local_experts",
    "num_experts",
];

impl Config {
    /// Reads `directory/config.json` if it is there.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("config.json");
        let Some(json) = read_json_if_there(&path)? else { return Ok(Self::default()) };
        let json = json.root();
        let text = |value: Json<'_>| value.text().filter(|s| !s.is_empty()).map(Cow::into_owned);
        let [language, model_type, architectures, class_name, name_or_path, tied] = json.pick([
            "text_config",
            "model_type",
            "architectures",
            "_class_name",
            "_name_or_path",
            "tie_word_embeddings",
        ]);
        // Models of several kinds of input keep those of their language model apart.
        let places = [json.pick(NUMBERS), language.pick(NUMBERS)];
        let number =
            |at: usize| places.iter().find_map(|numbers| numbers[at].size()).filter(|number| *number > 0);
        let [queries, keys, hidden_size, layers, local_experts, experts] = [0, 1, 2, 3, 4, 5].map(number);
        Ok(Self {
            heads: queries.map(|queries| Heads { queries, keys: keys.unwrap_or(queries) }),
            hidden_size,
            layers,
            experts: local_experts.or(experts),
            model_type: text(model_type),
            architecture: text(architectures.first()),
            class_name: text(class_name),
            name_or_path: text(name_or_path),
            tied: tied.bool(),
            quantization: Method::read(directory, json)?,
            sub_configs: sub_configs(json),
            counts: counts(json),
        })
    }

    /// Whether the architecture is a causal language model; unknown counts as one.
    pub(crate) fn is_causal(&self) -> bool {
        self.architecture.as_deref().is_none_or(|a| a.ends_with("ForCausalLM") || a.ends_with("LMHeadModel"))
    }

    /// What the names of a checkpoint lack when it was saved from the base model alone, as the first GPT-2
    /// was: the prefix that the causal model named in `architectures` has before them.
    pub(crate) fn missing_prefix<'n>(
        &self,
        mut names: impl Iterator<Item = &'n str>,
    ) -> Option<&'static str> {
        let model_type = self.model_type.as_deref()?;
        if self.architecture.is_none() || !self.is_causal() {
            return None;
        }
        let (prefix, _) =
            BASE_PREFIXES.iter().find(|(_, types)| types.split(' ').any(|t| t == model_type))?;
        let has = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        (!names.any(has)).then_some(prefix)
    }
}

/// Configurations within configurations, as deep as any model has them, and the longest place of one: what lies deeper is
/// not looked at, so that a file cannot multiply its keys.
const DEPTH: usize = 8;
const LONGEST: usize = 1 << 10;

/// Most facts that are taken from one file.
const MOST: usize = 1 << 12;

/// The model types of configurations within `json` and within those.
fn sub_configs(json: Json<'_>) -> BTreeMap<String, String> {
    fn look(json: Json<'_>, above: &str, depth: usize, found: &mut BTreeMap<String, String>) {
        json.each_entry(|key, value| {
            if let Some(own) = value.at("model_type").text()
                && let Some(place) = place(above, &key, depth)
            {
                look(value, &place, depth + 1, found);
                found.insert(place, own.into_owned());
            }
            found.len() < MOST
        });
    }
    let mut found = BTreeMap::new();
    look(json, "", 0, &mut found);
    found
}

/// Widths and numbers of heads and experts in `json` and in the configurations within it.
fn counts(json: Json<'_>) -> BTreeMap<String, usize> {
    fn look(json: Json<'_>, above: &str, depth: usize, found: &mut BTreeMap<String, usize>) {
        json.each_entry(|key, value| {
            let Some(place) = place(above, &key, depth) else { return true };
            look(value, &place, depth + 1, found);
            let wanted = key.contains("heads") || key.contains("num_experts") || key == "hidden_size";
            // A list has the same number for each kind of input.
            let number = || value.size().or_else(|| value.first().size());
            if let Some(count) = wanted.then(number).flatten() {
                found.insert(place, count);
            }
            found.len() < MOST
        });
    }
    let mut found = BTreeMap::new();
    look(json, "", 0, &mut found);
    found
}

/// The place of `key` below `above`.
fn place(above: &str, key: &str, depth: usize) -> Option<String> {
    if depth == DEPTH || above.len() + key.len() > LONGEST {
        return None;
    }
    Some(if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_is_added_only_when_config_is_sure() {
        let gpt2 = Config {
            model_type: Some("gpt2".into()),
            architecture: Some("GPT2LMHeadModel".into()),
            ..Config::default()
        };
        let bare = ["h.0.attn.c_attn.weight", "wte.weight"];
        assert_eq!(gpt2.missing_prefix(bare.into_iter()), Some("transformer"));
        assert_eq!(gpt2.missing_prefix(["transformer.wte.weight"].into_iter()), None);
        let base_only = Config { architecture: Some("GPT2Model".into()), ..gpt2 };
        assert_eq!(base_only.missing_prefix(bare.into_iter()), None);
        assert_eq!(Config::default().missing_prefix(bare.into_iter()), None);
    }

    fn config(text: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), text).unwrap();
        Config::read(directory.path()).unwrap()
    }

    #[test]
    fn facts_of_configurations_within_are_found_by_their_place() {
        let found = config(
            r#"{"hidden_size": 3, "text_config": {"model_type": "t", "num_attention_heads": 4,
                "num_hidden_layers": 2, "num_experts": [8, 9]}, "vision_config": {"model_type": "v", "in":
                {"model_type": "w"}}, "vocab_size": 5}"#,
        );
        let models = [("text_config", "t"), ("vision_config", "v"), ("vision_config.in", "w")];
        let models = models.map(|(place, kind)| (place.to_owned(), kind.to_owned()));
        assert_eq!(found.sub_configs, BTreeMap::from(models));
        let counts =
            [("hidden_size", 3), ("text_config.num_attention_heads", 4), ("text_config.num_experts", 8)];
        assert_eq!(found.counts, BTreeMap::from(counts.map(|(place, count)| (place.to_owned(), count))));
        assert_eq!(found.heads, Some(Heads { queries: 4, keys: 4 }));
        assert_eq!((found.hidden_size, found.layers, found.experts), (Some(3), Some(2), None));
        assert_eq!(config(r#"{"num_attention_heads": 0, "num_hidden_layers": 0}"#).heads, None);
        let local = config(
            r#"{"num_local_experts": 4, "num_experts": 8, "num_attention_heads": 6, "num_key_value_heads": 2}"#,
        );
        assert_eq!((local.experts, local.heads), (Some(4), Some(Heads { queries: 6, keys: 2 })));
    }

    #[test]
    fn what_lies_deep_or_has_a_long_place_is_not_looked_at() {
        let within = |levels: usize, key: &str| {
            let fact = r#"{"hidden_size": 1, "model_type": "m"}"#.to_owned();
            (0..levels).fold(fact, |text, _| format!(r#"{{"{key}": {text}}}"#))
        };
        let found = |text: &str| {
            let config = config(text);
            (config.counts.len(), config.sub_configs.len())
        };
        assert_eq!(found(&within(DEPTH - 1, "a")).0, 1);
        assert_eq!(found(&within(DEPTH, "a")).0, 0);
        let key = |len: usize| "k".repeat(len);
        assert_eq!(found(&within(1, &key(LONGEST - "hidden_size".len()))), (1, 1));
        assert_eq!(found(&within(1, &key(LONGEST - "hidden_size".len() + 1))), (0, 1));
        assert_eq!(found(&within(1, &key(LONGEST + 1))), (0, 0));
        let many = (0..=MOST).map(|at| format!(r#""k{at}": {{"hidden_size": 1, "model_type": "m"}},"#));
        let many = format!("{{{}", many.collect::<String>());
        assert_eq!(found(&(many + r#""x": 1}"#)), (MOST, MOST));
    }
}
