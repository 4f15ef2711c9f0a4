//! The quantisation method that the configuration of a model states.

use crate::error::Result;
use crate::source::json::Json;
use crate::source::json_file::read_json_if_there;
use std::fmt;
use std::path::Path;

/// The method that `quantization_config` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// `quant_method` in lower case.
    pub name: String,
    /// Bits per weight.
    pub bits: Option<u32>,
    /// Columns per scale; `None` where it is not stated, or a row has one scale.
    pub group_size: Option<usize>,
    /// Rows and columns per scale.
    pub block: Option<[usize; 2]>,
    /// What else tells how the weights are stored: `format`, `quant_algo`, `checkpoint_format`, `version` or a type.
    pub format: Option<String>,
    /// Why weights that are stored so are not read, where that is known.
    pub(crate) unread: Option<&'static str>,
}

impl Method {
    /// The method that the files of `directory` name beside `config.json`, which is `config`.
    pub(crate) fn read(directory: &Path, config: Json<'_>) -> Result<Option<Self>> {
        for key in ["quantization_config", "compression_config"] {
            for place in [config.at(key), config.at("text_config").at(key)] {
                if let Some(method) = Self::parse(place, None) {
                    return Ok(Some(method));
                }
            }
        }
        // Older ones say it in a file of its own.
        for (name, key, method) in
            [("hf_quant_config.json", "quantization", "modelopt"), ("quantize_config.json", "", "gptq")]
        {
            let Some(json) = read_json_if_there(&directory.join(name))? else { continue };
            let own = if key.is_empty() { json.root() } else { json.root().at(key) };
            return Ok(Self::parse(own, Some(method)));
        }
        Ok(None)
    }

    /// `method` is what the file is of where it does not say so.
    fn parse(json: Json<'_>, method: Option<&str>) -> Option<Self> {
        if !json.is_object() {
            return None;
        }
        let text = |value: Json<'_>| value.text().map(|text| text.to_ascii_lowercase());
        let by_bits = || {
            let loaded = |key: &str| json.at(key).bool() == Some(true);
            (loaded("load_in_4bit") || loaded("load_in_8bit")).then(|| "bitsandbytes".to_owned())
        };
        let name = text(json.at("quant_method")).or_else(|| method.map(str::to_owned)).or_else(by_bits)?;
        // compressed-tensors keeps them per group of modules; those of the first stand for all in what is said.
        let weights = json.at("config_groups").first_value().at("weights");
        let number = |key: &str| {
            [json.at(key), weights.at(key)].into_iter().find_map(Json::size).filter(|number| *number > 0)
        };
        let pair = |value: Json<'_>| {
            let &[rows, cols, ..] = value.sizes()?.as_slice() else { return None };
            (rows > 0 && cols > 0).then_some([rows, cols])
        };
        let bits = |value: usize| u32::try_from(value).ok();
        let block = pair(json.at("weight_block_size")).or_else(|| pair(weights.at("block_structure")));
        let mut method = Self {
            bits: number("bits").or_else(|| number("w_bit")).or_else(|| number("num_bits")).and_then(bits),
            group_size: number("group_size").or_else(|| number("q_group_size")),
            block,
            format: None,
            unread: None,
            name,
        };
        let flag = |key: &str| json.at(key).bool() == Some(true);
        method.format = match method.name.as_str() {
            "gptq" => text(json.at("checkpoint_format")).or_else(|| Some("gptq".into())),
            "awq" => text(json.at("version")).or_else(|| Some("gemm".into())),
            "auto-round" | "auto_round" | "intel/auto-round" => text(json.at("packing_format")),
            "bitsandbytes" if flag("load_in_8bit") => Some("int8".into()),
            "bitsandbytes" => text(json.at("bnb_4bit_quant_type")).or_else(|| Some("fp4".into())),
            "modelopt" => text(json.at("quant_algo")),
            _ => text(json.at("format")).or_else(|| text(json.at("fmt"))),
        };
        if method.name == "bitsandbytes" {
            method.bits = None;
        }
        method.unread = method.unread_because(json);
        Some(method)
    }

    /// What speaks against reading weights of this method, as far as the configuration tells.
    fn unread_because(&self, json: Json<'_>) -> Option<&'static str> {
        let format = self.format.as_deref().unwrap_or_default();
        match self.name.as_str() {
            "gptq" if !matches!(format, "gptq" | "gptq_v2") => {
                Some("only the formats gptq and gptq_v2 are read")
            }
            "gptq" if json.at("pack_dtype").text().is_some_and(|dtype| dtype != "int32") => {
                Some("only codes that are packed into int32 are read")
            }
            "awq" if format != "gemm" => Some("only the version gemm is read"),
            "compressed-tensors" if has_entries(json.at("transform_config")) => {
                Some("its transforms change the weights, and are not read")
            }
            "compressed-tensors"
                if json.at("sparsity_config").at("format").text().is_some_and(|f| f != "dense") =>
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

fn has_entries(value: Json<'_>) -> bool {
    !value.at("config_groups").first_value().is_null()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The method of a model with this `config.json`, or of the file `name` beside an empty one.
    fn method(name: &str, text: &str) -> Option<Method> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), text).unwrap();
        let config = if name == "config.json" { text } else { "{}" };
        Method::read(directory.path(), Json::parse(config.as_bytes()).unwrap()).unwrap()
    }

    fn stated(text: &str) -> Method {
        method("config.json", &format!(r#"{{"quantization_config": {text}}}"#)).unwrap()
    }

    #[test]
    fn it_is_found_wherever_it_is_said() {
        let fp8 = r#"{"quant_method": "FP8"}"#;
        for text in [
            format!(r#"{{"quantization_config": {fp8}}}"#),
            format!(r#"{{"compression_config": {fp8}}}"#),
            format!(r#"{{"text_config": {{"quantization_config": {fp8}}}}}"#),
        ] {
            assert_eq!(method("config.json", &text).unwrap().name, "fp8", "{text}");
        }
        for (name, text, expected) in [
            ("hf_quant_config.json", r#"{"quantization": {"quant_algo": "FP8"}}"#, "modelopt (fp8)"),
            ("quantize_config.json", r#"{"bits": 4, "group_size": 128}"#, "GPTQ, 4 bits, groups of 128"),
        ] {
            assert_eq!(method(name, text).unwrap().to_string(), expected);
        }
        assert_eq!(method("config.json", "{}"), None);
        assert_eq!(method("config.json", r#"{"quantization_config": null}"#), None);
        assert_eq!(method("config.json", r#"{"quantization_config": {"load_in_8bit": false}}"#), None);
    }

    #[test]
    fn each_writer_has_its_own_fields() {
        for (text, expected, packing) in [
            (
                r#"{"quant_method": "awq", "w_bit": 4, "q_group_size": 64}"#,
                "AWQ, 4 bits, groups of 64",
                Some(Packing::Awq),
            ),
            (
                r#"{"quant_method": "gptq", "bits": 0, "group_size": 0}"#,
                "GPTQ",
                Some(Packing::Gptq { v2: false }),
            ),
            (
                r#"{"quant_method": "gptq", "checkpoint_format": "gptq_v2"}"#,
                "GPTQ (gptq_v2)",
                Some(Packing::Gptq { v2: true }),
            ),
            (r#"{"load_in_4bit": true, "bits": 4}"#, "bitsandbytes, FP4", None),
            (r#"{"load_in_8bit": true}"#, "bitsandbytes, LLM.int8", None),
            (r#"{"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4"}"#, "bitsandbytes, NF4", None),
            (r#"{"quant_method": "modelopt", "quant_algo": "NVFP4"}"#, "modelopt (nvfp4)", None),
            (
                r#"{"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"}"#,
                "auto-round (auto_round:auto_gptq)",
                Some(Packing::Gptq { v2: false }),
            ),
            (
                r#"{"quant_method": "auto_round", "packing_format": "auto_round:gptq_v2"}"#,
                "auto_round (auto_round:gptq_v2)",
                Some(Packing::Gptq { v2: true }),
            ),
            (
                r#"{"quant_method": "intel/auto-round", "packing_format": "auto_round:auto_awq"}"#,
                "intel/auto-round (auto_round:auto_awq)",
                Some(Packing::Awq),
            ),
            (
                r#"{"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 64]}"#,
                "FP8, blocks of 128 × 64",
                None,
            ),
            (r#"{"quant_method": "fp8", "weight_block_size": [0, 64]}"#, "FP8", None),
            (r#"{"quant_method": "fp8", "weight_block_size": [64, 0]}"#, "FP8", None),
            (
                r#"{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": {"weights":
                    {"num_bits": 8, "group_size": 32}}}}"#,
                "compressed-tensors (pack-quantized), 8 bits, groups of 32",
                None,
            ),
            (
                r#"{"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights":
                    {"block_structure": [16, 32]}}}}"#,
                "compressed-tensors, blocks of 16 × 32",
                None,
            ),
        ] {
            let method = stated(text);
            assert_eq!(
                (method.to_string().as_str(), method.packing(), method.unread),
                (expected, packing, None),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_read_is_known_before_a_weight_is_looked_at() {
        for (text, expected) in [
            (r#"{"quant_method": "gptq", "checkpoint_format": "marlin"}"#, "formats gptq"),
            (r#"{"quant_method": "gptq", "pack_dtype": "int8"}"#, "packed into int32"),
            (r#"{"quant_method": "awq", "version": "gemv"}"#, "version gemm"),
            (
                r#"{"quant_method": "compressed-tensors", "transform_config": {"config_groups": {"a": {}}}}"#,
                "transforms",
            ),
            (
                r#"{"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24"}}"#,
                "sparse",
            ),
            (r#"{"quant_method": "aqlm"}"#, "this method is not read"),
        ] {
            assert!(stated(text).unread.is_some_and(|why| why.contains(expected)), "{text}");
        }
        for text in [
            r#"{"quant_method": "gptq", "pack_dtype": "int32"}"#,
            r#"{"quant_method": "compressed-tensors", "transform_config": {"config_groups": {}}}"#,
            r#"{"quant_method": "compressed-tensors", "sparsity_config": {"format": "dense"}}"#,
        ] {
            assert_eq!(stated(text).unread, None, "{text}");
        }
    }
}
