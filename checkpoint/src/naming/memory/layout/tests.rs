//! Names of checkpoints and of memory, by class.

use super::*;

fn layout(class: &str) -> Layout {
    let config = Config { architecture: Some(class.to_owned()), ..Config::default() };
    Layout::of(&config, &std::iter::empty()).expect(class)
}

#[test]
fn names_go_into_memory_and_back() {
    for (class, file, memory) in [
        ("LlamaForCausalLM", "model.layers.3.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"),
        (
            "LlavaForConditionalGeneration",
            "language_model.model.layers.1.self_attn.q_proj.weight",
            "model.language_model.layers.1.self_attn.q_proj.weight",
        ),
        ("LlavaForConditionalGeneration", "language_model.lm_head.weight", "lm_head.weight"),
        (
            "ViTForImageClassification",
            "vit.encoder.layer.11.attention.output.dense.weight",
            "vit.layers.11.attention.o_proj.weight",
        ),
        (
            "MixtralForCausalLM",
            "model.layers.0.block_sparse_moe.gate.weight",
            "model.layers.0.mlp.gate.weight",
        ),
    ] {
        let layout = layout(class);
        assert_eq!(layout.place(file), Placed::Whole(memory.to_owned()), "{class}");
        assert_eq!(layout.place(memory), Placed::Whole(memory.to_owned()), "{class}: names of memory stay");
        assert_eq!(layout.sources(memory, None), [file], "{class}");
    }
}

#[test]
fn experts_become_rows_of_stacks() {
    let layout = layout("Qwen3MoeForCausalLM");
    let stack = "model.layers.5.mlp.experts.gate_up_proj";
    for (component, source) in ["gate_proj", "up_proj"].into_iter().enumerate() {
        let file = format!("model.layers.5.mlp.experts.17.{source}.weight");
        let placed = Placed::Joined { name: stack.to_owned(), component, components: 2, expert: Some(17) };
        assert_eq!(layout.place(&file), placed);
        assert_eq!(layout.sources(stack, Some(17))[component], file);
    }
    assert_eq!(layout.kind(stack, 3), Some(Kinds::Stack { transposed: false }));
    let router = layout.kind("model.layers.5.mlp.gate.weight", 2);
    assert!(matches!(router, Some(Kinds::Linear { parameter: true, transposed: false, .. })));
    assert_eq!(layout.kind("model.norm.weight", 1), None, "of vectors nothing is said");
}

#[test]
fn a_number_outweighs_a_star() {
    let body = Body { moves: vec![("a.*", "b.*.x"), ("a.5", "c"), ("a", "d")], ..Body::default() };
    let layout = Layout { class: "", stated: false, body, subs: Vec::new(), counts: BTreeMap::new() };
    for (file, memory) in [("a.4.w", "b.4.x.w"), ("a.5.w", "c.w"), ("a.w", "d.w")] {
        assert_eq!(layout.moved(file), memory);
        assert_eq!(layout.unmoved(memory), file);
    }
}

#[test]
fn models_of_another_type_have_the_same_head() {
    for (of, text, found) in [
        ("InstructBlipForConditionalGeneration", "llama", "LlamaForCausalLM"),
        ("LlavaForConditionalGeneration", "mistral", "MistralModel"),
    ] {
        let config = Config {
            architecture: Some(of.to_owned()),
            sub_configs: [("text_config".to_owned(), text.to_owned())].into(),
            ..Config::default()
        };
        let layout = Layout::of(&config, &std::iter::empty()).expect(of);
        assert!(layout.subs.iter().any(|(_, sub)| sub.class == found), "{of}");
    }
}

#[test]
fn heads_of_language_models_are_told_from_other_heads() {
    for (class, name, head) in [
        ("Wav2Vec2ForCTC", "lm_head.weight", false),
        ("LlamaForCausalLM", "lm_head.weight", true),
        ("LlavaForConditionalGeneration", "lm_head.weight", true),
        ("NemotronHForCausalLM", "lm_head.weight", true),
    ] {
        let kind = layout(class).kind(name, 2);
        assert!(matches!(kind, Some(Kinds::Linear { head: found, .. }) if found == head), "{class}");
    }
}

#[test]
fn attention_of_torch_is_known() {
    let layout = layout("SiglipVisionModel");
    for name in ["in_proj_weight", "out_proj.weight"] {
        let name = format!("head.attention.{name}");
        assert_eq!(layout.kind(&name, 2), Some(Kinds::Attention), "{name}");
    }
}

#[test]
fn numbers_of_the_configuration_place_rows_and_experts() {
    let with = |class: &str, counts: &[(&str, usize)]| {
        let counts = counts.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
        let config = Config { architecture: Some(class.to_owned()), counts, ..Config::default() };
        Layout::of(&config, &std::iter::empty()).expect(class)
    };
    let kimi = with("Kimi_K25ForConditionalGeneration", &[("vision_config.num_attention_heads", 4)]);
    let Placed::Split(names) = kimi.place("vision_tower.encoder.blocks.3.wqkv.weight") else { panic!() };
    let heads: Vec<_> = names.iter().map(|(_, heads)| *heads).collect();
    assert_eq!(heads, [Some(4), Some(4), None]);

    let key = |name: &str| format!("text_config.num_{name}_heads");
    let molmo = with("Molmo2ForConditionalGeneration", &[(&key("attention"), 4), (&key("key_value"), 2)]);
    let Placed::Cut(names) = molmo.place("model.transformer.blocks.1.self_attn.att_proj.weight") else {
        panic!()
    };
    assert_eq!(names.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [4, 2, 2]);

    let qwen = with("Qwen3VLMoeForConditionalGeneration", &[("text_config.hidden_size", 64)]);
    let name = "model.language_model.layers.0.mlp.experts.gate_up_proj";
    let turned = Placed::TurnedUnless { name: name.to_owned(), axis: 2, entries: 64 };
    assert_eq!(qwen.place(name), turned);

    let ernie = with("Ernie4_5_VLMoeForConditionalGeneration", &[("text_config.moe_num_experts", 4)]);
    for (file, kind, expert) in [(3, "text_moe", 3), (5, "vision_moe", 1)] {
        let file = format!("model.layers.1.mlp.experts.{file}.up_proj.weight");
        let stack = format!("model.language_model.layers.1.mlp.{kind}.experts.gate_up_proj");
        let placed =
            Placed::Joined { name: stack.clone(), component: 1, components: 2, expert: Some(expert) };
        assert_eq!(ernie.place(&file), placed);
        assert_eq!(ernie.sources(&stack, Some(expert))[1], file);
    }
}

#[test]
fn what_is_not_known_has_no_layout() {
    let config = Config { architecture: Some("NoSuchModel".to_owned()), ..Config::default() };
    assert!(Layout::of(&config, &std::iter::empty()).is_none());
}
