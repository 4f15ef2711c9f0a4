use super::*;
use crate::adapter::{Factor, LoraModule, Naming};
use phlora_core::Dtype;

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
fn what_is_written_gives_every_rank_and_scale_back() {
    let module = |name: &'static str, rank: usize, scale: f64| {
        let factor =
            |shape: [usize; 2]| Factor::new(Dtype::F16, shape, vec![0; 2 * shape[0] * shape[1]]).unwrap();
        let (a, b) = (factor([rank, 3]), factor([5, rank]));
        LoraModule { scale, ..LoraModule::new(name, a, b) }
    };
    let fields = || Fields { bias: "none", ..Fields::default() };
    let lora = |modules| Lora { base_name: Some("base".into()), ..Lora::new(modules, Naming::HuggingFace) };
    for modules in [
        vec![module("l.0.q", 8, 1.0), module("l.1.q", 8, 1.0)],
        vec![module("l.0.q", 8, 1.0), module("l.1.q", 4, 1.0), module("l.2.q", 1, 1.0)],
        vec![module("l.0.q", 8, 2.0), module("l.1.q", 4, 4.0)],
        vec![module("l.0.q", 8, 4.0 / 8f64.sqrt()), module("l.1.q", 3, 0.1), module("l.2.q", 8, -1.0)],
        // The path of one is the end of the other's.
        vec![module("l.0.q", 4, 1.0), module("model.l.0.q", 8, 1.0), module("x.model.l.0.q", 2, 0.5)],
    ] {
        let lora = lora(modules);
        let json = written(&lora, &fields()).unwrap();
        let config = read(&json).unwrap();
        for module in &lora.modules {
            let (rank, scale) = config.rank_and_scale(&module.name);
            assert_eq!(rank, module.rank(), "{json}");
            assert!((scale - module.scale).abs() <= 1e-12 * module.scale.abs(), "{scale} {json}");
        }
    }
    let uniform = written(&lora(vec![module("l.0.q", 8, 1.0)]), &fields()).unwrap();
    assert!(uniform.contains(r#""lora_alpha": 8,"#) && uniform.contains(r#""rank_pattern": {}"#));
    let mixed = written(&lora(vec![module("l.0.q", 8, 1.0), module("l.1.q", 4, 1.0)]), &fields()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&mixed).unwrap();
    assert_eq!(json["rank_pattern"], serde_json::json!({"l.1.q": 4}));
    assert_eq!(json["alpha_pattern"], serde_json::json!({"l.1.q": 4}));
}

#[test]
fn refuses_what_it_cannot_scale() {
    for json in [
        "{}",
        r#"{"peft_type":"OFT"}"#,
        r#"{"peft_type":"LORA","r":0}"#,
        r#"{"peft_type":"LORA","r":"8"}"#,
        r#"{"peft_type":"LORA","rank_pattern":{"(":4}}"#,
    ] {
        assert!(read(json).is_err(), "{json}");
    }
}
