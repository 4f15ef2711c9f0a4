//! What the configuration of a model says about how its weights are quantised.

use crate::error::Result;
use crate::source::json::read_json;
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// The method that `quantization_config` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// `quant_method` in lower case.
    pub name: String,
    /// Bits per weight.
    pub bits: Option<u32>,
    /// Columns that share a scale; `None` where it is not stated, or all of a row do.
    pub group_size: Option<usize>,
    /// Rows and columns that share a scale.
    pub block: Option<[usize; 2]>,
    /// What else tells how the weights are stored: `format`, `quant_algo`, `checkpoint_format`, `version` or a type.
    pub format: Option<String>,
    /// Why weights that are stored so are not read, where that is known.
    pub(crate) unread: Option<&'static str>,
}

impl Method {
    /// The method that the files of `directory` name beside `config.json`, which is `config`.
    pub(crate) fn read(directory: &Path, config: &Value) -> Result<Option<Self>> {
        for key in ["quantization_config", "compression_config"] {
            for place in [&config[key], &config["text_config"][key]] {
                if let Some(method) = Self::parse(place) {
                    return Ok(Some(method));
                }
            }
        }
        // Older ones say it in a file of its own.
        for (name, key, method) in
            [("hf_quant_config.json", "quantization", "modelopt"), ("quantize_config.json", "", "gptq")]
        {
            let path = directory.join(name);
            if !path.is_file() {
                continue;
            }
            let mut json = read_json(&path)?;
            let mut own = if key.is_empty() { json } else { json[key].take() };
            if let Some(fields) = own.as_object_mut() {
                fields.entry("quant_method").or_insert(method.into());
            }
            return Ok(Self::parse(&own));
        }
        Ok(None)
    }

    fn parse(json: &Value) -> Option<Self> {
        let fields = json.as_object()?;
        let text = |value: &Value| value.as_str().map(str::to_ascii_lowercase);
        let by_bits = || {
            let loaded = |key: &str| fields.get(key).and_then(Value::as_bool) == Some(true);
            (loaded("load_in_4bit") || loaded("load_in_8bit")).then(|| "bitsandbytes".to_owned())
        };
        let name = text(&json["quant_method"]).or_else(by_bits)?;
        // compressed-tensors keeps them per group of modules; those of the first stand for all in what is said.
        let weights =
            json["config_groups"].as_object().and_then(|groups| Some(&groups.values().next()?["weights"]));
        let number = |key: &str| {
            let value = [Some(&json[key]), weights.map(|weights| &weights[key])].into_iter().flatten();
            value
                .filter_map(Value::as_u64)
                .find_map(|number| usize::try_from(number).ok())
                .filter(|number| *number > 0)
        };
        let pair = |value: &Value| {
            let at = |index: usize| {
                value[index].as_u64().and_then(|number| usize::try_from(number).ok()).filter(|n| *n > 0)
            };
            Some([at(0)?, at(1)?])
        };
        let bits = |value: usize| u32::try_from(value).ok();
        let block = pair(&json["weight_block_size"]).or_else(|| pair(&weights?["block_structure"]));
        let mut method = Self {
            bits: number("bits").or_else(|| number("w_bit")).or_else(|| number("num_bits")).and_then(bits),
            group_size: number("group_size").or_else(|| number("q_group_size")),
            block,
            format: None,
            unread: None,
            name,
        };
        let flag = |key: &str| json[key].as_bool() == Some(true);
        method.format = match method.name.as_str() {
            "gptq" => text(&json["checkpoint_format"]).or_else(|| Some("gptq".into())),
            "awq" => text(&json["version"]).or_else(|| Some("gemm".into())),
            "auto-round" | "auto_round" | "intel/auto-round" => text(&json["packing_format"]),
            "bitsandbytes" if flag("load_in_8bit") => Some("int8".into()),
            "bitsandbytes" => text(&json["bnb_4bit_quant_type"]).or_else(|| Some("fp4".into())),
            "modelopt" => text(&json["quant_algo"]),
            _ => text(&json["format"]).or_else(|| text(&json["fmt"])),
        };
        if method.name == "bitsandbytes" {
            method.bits = None;
        }
        method.unread = method.unread_because(json);
        Some(method)
    }

    /// What speaks against reading weights of this method, as far as the configuration tells.
    fn unread_because(&self, json: &Value) -> Option<&'static str> {
        let format = self.format.as_deref().unwrap_or_default();
        match self.name.as_str() {
            "gptq" if !matches!(format, "gptq" | "gptq_v2") => {
                Some("only the formats gptq and gptq_v2 are read")
            }
            "gptq" if json["pack_dtype"].as_str().is_some_and(|dtype| dtype != "int32") => {
                Some("only codes that are packed into int32 are read")
            }
            "awq" if format != "gemm" => Some("only the version gemm is read"),
            "compressed-tensors" if has_entries(&json["transform_config"]) => {
                Some("its transforms change the weights, and are not read")
            }
            "compressed-tensors"
                if json["sparsity_config"]["format"].as_str().is_some_and(|f| f != "dense") =>
            {
                Some("sparse formats are not read")
            }
            _ if self.is_known() => None,
            _ => Some("this method is not read"),
        }
    }

    fn is_known(&self) -> bool {
        let known = [
            "fp8",
            "fbgemm_fp8",
            "compressed-tensors",
            "modelopt",
            "mxfp4",
            "bitsandbytes",
            "gptq",
            "awq",
            "auto-round",
            "auto_round",
            "intel/auto-round",
            "finegrained_fp8",
            "deepseek_fp8",
        ];
        known.contains(&self.name.as_str())
    }

    /// How the integers of GPTQ and AWQ, which have tensors of the same names, are packed.
    pub(crate) fn packing(&self) -> Option<Packing> {
        let format = self.format.as_deref().unwrap_or_default();
        match self.name.as_str() {
            "gptq" => Some(Packing::Gptq { v2: format == "gptq_v2" }),
            "awq" => Some(Packing::Awq),
            _ if format.contains("awq") => Some(Packing::Awq),
            _ if format.contains("gptq") => Some(Packing::Gptq { v2: format.contains("v2") }),
            _ => None,
        }
    }
}

/// See [`Method::packing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gptq { v2: bool },
    Awq,
}

fn has_entries(value: &Value) -> bool {
    value["config_groups"].as_object().is_some_and(|groups| !groups.is_empty())
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.format.as_deref();
        match (self.name.as_str(), format) {
            ("gptq", Some("gptq") | None) => f.write_str("GPTQ")?,
            ("gptq", Some(format)) => write!(f, "GPTQ ({format})")?,
            ("awq", Some("gemm") | None) => f.write_str("AWQ")?,
            ("awq", Some(version)) => write!(f, "AWQ ({version})")?,
            ("bitsandbytes", Some("int8")) => f.write_str("bitsandbytes, LLM.int8")?,
            ("bitsandbytes", Some(kind)) => write!(f, "bitsandbytes, {}", kind.to_ascii_uppercase())?,
            ("fp8" | "fbgemm_fp8" | "mxfp4", _) => f.write_str(&self.name.to_ascii_uppercase())?,
            (name, Some(format)) => write!(f, "{name} ({format})")?,
            (name, None) => f.write_str(name)?,
        }
        if let Some(bits) = self.bits {
            write!(f, ", {bits} bits")?;
        }
        if let Some([rows, cols]) = self.block {
            write!(f, ", blocks of {rows} × {cols}")?;
        } else if let Some(size) = self.group_size {
            write!(f, ", groups of {size}")?;
        }
        Ok(())
    }
}
