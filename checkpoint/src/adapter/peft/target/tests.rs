use super::super::{Directory, WEIGHTS, write};
use super::*;
use crate::adapter::{Naming, Spelling, Target as By};
use crate::source::model::Model;
use phlora_core::Dtype;

fn module(name: &'static str, [out, input]: [usize; 2], rank: usize, target: By) -> LoraModule<'static> {
    let factor = |shape: [usize; 2]| {
        let values =
            (0..shape[0] * shape[1]).flat_map(|at| (at as f32 + 1.0).to_le_bytes()).collect::<Vec<_>>();
        Factor::new(Dtype::F32, shape, values).unwrap()
    };
    LoraModule { target, ..LoraModule::new(name, factor([rank, input]), factor([out, rank])) }
}

fn lora(modules: Vec<LoraModule<'static>>, spelling: Spelling) -> Lora<'static> {
    let targets = Some(vec!["fc".to_owned()]);
    Lora { targets, spelling, ..Lora::new(modules, Naming::HuggingFace) }
}

/// Writes it and gives its directory, the names in its file, and the targets of its configuration.
fn written(lora: &Lora<'_>) -> (tempfile::TempDir, Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    write(lora, directory.path(), directory.path()).unwrap();
    let model = Model::open(&directory.path().join(WEIGHTS)).unwrap();
    let names = model.tensors().map(|(name, _)| name.to_owned()).collect();
    let targets = Directory::open(directory.path()).unwrap().config.targets.unwrap();
    (directory, names, targets)
}

/// B·A times the scale of each module, by name.
fn deltas(lora: &Lora<'_>) -> BTreeMap<String, Vec<f64>> {
    let delta = |module: &LoraModule<'_>| {
        let (a, b) = (module.a.decoded().unwrap(), module.b.decoded().unwrap());
        let ([out, input], rank) = (module.shape(), module.rank());
        let entry = |at: usize| {
            let (row, column) = (at / input, at % input);
            let sum = (0..rank).map(|k| f64::from(b[row * rank + k]) * f64::from(a[k * input + column]));
            sum.sum::<f64>() * module.scale
        };
        (0..out * input).map(entry).collect()
    };
    lora.modules.iter().map(|module| (module.name.to_string(), delta(module))).collect()
}

#[test]
fn both_projections_of_an_attention_are_of_one_target() {
    let both = lora(
        vec![
            module("a.attn.in_proj_weight", [6, 2], 1, By::Attention),
            module("a.attn.out_proj", [2, 2], 2, By::Attention),
            module("a.fc", [3, 2], 2, By::Module),
        ],
        Spelling::default(),
    );
    let (directory, names, targets) = written(&both);
    assert_eq!(targets, ["a.attn", "a.fc"]);
    for path in ["a.attn", "a.attn.base_layer.out_proj", "a.fc"] {
        assert!(names.contains(&format!("base_model.model.{path}.lora_A.weight")), "{names:?}");
    }
    let opened = Directory::open(directory.path()).unwrap();
    assert_eq!(deltas(&opened.lora().unwrap()), deltas(&both));
    // PEFT adds what the file says of an output projection twice.
    let stored = opened.weights.tensor("base_model.model.a.attn.base_layer.out_proj.lora_B.weight").unwrap();
    assert_eq!(f32::from_le_bytes(stored.bytes()[..4].try_into().unwrap()), 0.5);
}

#[test]
fn the_other_projection_is_written_as_zeros() {
    for (name, shape, other) in [
        ("a.attn.in_proj_weight", [6, 2], "a.attn.out_proj"),
        ("a.attn.out_proj", [2, 2], "a.attn.in_proj_weight"),
    ] {
        let one = lora(vec![module(name, shape, 1, By::Attention)], Spelling::default());
        let (directory, _, targets) = written(&one);
        assert_eq!(targets, ["a.attn"]);
        let opened = Directory::open(directory.path()).unwrap();
        let found = deltas(&opened.lora().unwrap());
        assert_eq!(found[name], deltas(&one)[name]);
        assert!(found[other].iter().all(|entry| *entry == 0.0) && found[other].len() == 16 - shape[0] * 2);
    }
}

#[test]
fn keys_are_spelled_as_peft_wants_them_and_read_back() {
    let spelling = Spelling::new(&[("m.experts", "m.expert")]);
    let spelled = lora(vec![module("m.experts.fc", [3, 2], 2, By::Module)], spelling);
    let (directory, names, targets) = written(&spelled);
    assert_eq!(targets, ["fc"]);
    let keys = ["base_model.model.m.expert.fc.lora_A.weight", "base_model.model.m.expert.fc.lora_B.weight"];
    assert_eq!(names, keys);
    let opened = Directory::open(directory.path()).unwrap();
    let read = opened.lora().unwrap();
    assert_eq!(deltas(&read), deltas(&spelled));
    // Written again, it keeps the spelling.
    assert_eq!(written(&read).1, keys);
}

#[test]
fn experts_of_one_stack_are_alike() {
    use crate::source::tensor::Expert;
    let expert = |shape, index, count| LoraModule {
        expert: Some(Expert { index, count }),
        ..module("m.experts.fc", shape, 1, By::Parameter)
    };
    let stack = |modules| targets(&lora(modules, Spelling::default())).map(|targets| targets.len());
    assert_eq!(stack(vec![expert([3, 2], 0, 4), expert([3, 2], 3, 4)]).unwrap(), 1);
    for other in [expert([2, 3], 1, 4), expert([3, 2], 1, 5), expert([3, 2], 4, 4), expert([3, 2], 7, 4)] {
        let message = stack(vec![expert([3, 2], 0, 4), other]).unwrap_err().to_string();
        assert!(message.contains("are not of one stack of 4 experts"), "{message}");
    }
    for (count, fits) in [(MAX_EXPERTS, true), (MAX_EXPERTS + 1, false)] {
        assert_eq!(stack(vec![expert([3, 2], 0, count), expert([3, 2], 1, count)]).is_ok(), fits, "{count}");
    }
}
