//! The facts of one model: where each tensor of its checkpoint is in memory, and what it is there.

use std::cmp::Reverse;

use super::pattern::{fill, numbers, prefix_numbers, stars};
use super::table::{Body, Change, Count, Fact, Source, Sub, classes_of, is_generation, section, task_of};
use crate::naming::arch::NameMap;
use crate::naming::kind::suffix_of;
use crate::naming::spelling::Spelling;
use crate::source::config::Config;
use crate::source::model::Model;
use std::collections::BTreeMap;

/// Names of a checkpoint that are looked at to find the class of a model which does not say it.
const LOOKED_AT: usize = 1000;

/// How a model is laid out in memory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The class of the model.
    pub(crate) class: &'static str,
    /// Whether the configuration names it; else it is the one that the names of the checkpoint fit best.
    stated: bool,
    body: Body,
    /// Models within it that are of another type than usual, by their place in memory.
    subs: Vec<(&'static str, Layout)>,
    /// As [`Config::counts`].
    counts: BTreeMap<String, usize>,
}

/// Where a tensor of a checkpoint is in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is the tensor of this name.
    Whole(String),
    /// It is that tensor with its last two axes exchanged.
    Turned(String),
    /// The same, unless the axis has so many entries already.
    TurnedUnless { name: String, axis: usize, entries: usize },
    /// It holds the rows of part `part` of `parts` of the tensor `name`, or of matrix `expert` of that stack.
    Joined { name: String, part: usize, parts: usize, expert: Option<usize> },
    /// The same of every matrix of the stack.
    JoinedStack { name: String, part: usize, parts: usize },
    /// It is that tensor with its rows in another order: so many heads in halves that alternate here.
    Ordered { name: String, heads: usize },
    /// Its rows are those of several tensors, in equal shares, the rows of some in another order: of so many heads.
    Split(Vec<(String, Option<usize>)>),
    /// Its rows are those of several tensors, in shares as these numbers.
    Cut(Vec<(String, usize)>),
    /// It is made into these by an operation that is not followed here.
    Other,
}

/// What a weight in memory is to PEFT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// The weight of a linear module; whether PEFT has to be told its name as that of a parameter, and whether it is
    /// the head of a language model, or may be tied to an embedding.
    Linear { parameter: bool, transposed: bool, head: bool },
    /// A matrix that is a parameter with a name of its own, not the `weight` of a module.
    Bare,
    /// The joint projection of a multi-head attention of torch, or its output projection: PEFT adapts both together.
    Attention,
    /// A lookup table.
    Embedding,
    /// A convolution that PEFT adapts exactly.
    Convolution,
    /// A stack of matrices; whether they are [in, out].
    Stack { transposed: bool },
    /// Nothing that PEFT adapts rightly, and why.
    Refused(&'static str),
    /// The same of a layer that PEFT's `modules_to_save` can take whole.
    Whole(&'static str),
}

impl Kinds {
    /// The same of a weight that may be the other way round in the file than in memory, `turned`: such values are not
    /// stored as they are.
    pub(crate) fn of_rows(self, turned: bool) -> Self {
        match self {
            Self::Whole(why) if turned => Self::Refused(why),
            kind => kind,
        }
    }

    /// Whether a matrix of this kind is stored [in, out], `turned` saying whether it is the other way round in the file
    /// than in memory; `None` of what is no matrix of a linear map.
    pub(crate) fn is_transposed(self, turned: bool) -> Option<bool> {
        match self {
            Self::Linear { transposed, .. } | Self::Stack { transposed } => Some(transposed != turned),
            _ => None,
        }
    }
}

impl Layout {
    /// The layout of `model`, where its architecture is known; a GGUF model's is not told by its names.
    pub(crate) fn of_model(model: &Model) -> Option<Self> {
        if model.is_gguf() { None } else { Self::of(model.config(), &model.names()) }
    }

    /// The layout of the model that `config` describes; `None` where its architecture is not known.
    pub(crate) fn of<'n>(config: &Config, names: &(impl Iterator<Item = &'n str> + Clone)) -> Option<Self> {
        let class = config.architecture.as_deref();
        let known = class.and_then(|class| Some(Self { stated: true, ..Self::of_class(class, config)? }));
        known.or_else(|| {
            let classes = classes_of(config.model_type.as_deref()?);
            let found = classes.filter_map(|class| Self::of_class(class, config));
            let fits: Vec<_> =
                found.map(|layout| (layout.fit(names.clone().take(LOOKED_AT)), layout)).collect();
            let most = fits.iter().map(|(fit, _)| *fit).max()?;
            let mut best: Vec<_> = fits.into_iter().filter(|(fit, _)| *fit == most).collect();
            // The bare model comes first, the one with a head for language second: where both fit, that is meant.
            let at = usize::from(best.len() > 1);
            Some(best.swap_remove(at).1)
        })
    }

    /// How many of the names of a checkpoint it knows something of.
    fn fit<'n>(&self, names: impl Iterator<Item = &'n str>) -> usize {
        let knows = |name: &&str| match self.place(name) {
            Placed::Whole(to) => {
                to != **name || self.body.facts.iter().any(|(fact, _)| numbers(fact, name).is_some())
            }
            _ => true,
        };
        names.filter(knows).count()
    }

    /// The layout of the checkpoints that a GGUF file of the architecture of `names` is made of.
    pub(crate) fn of_gguf(names: &NameMap) -> Option<Self> {
        let of = |model_type: &&str| {
            let config = Config { model_type: Some((*model_type).to_owned()), ..Config::default() };
            Self::of(&config, &std::iter::empty())
        };
        names.model_types().iter().find_map(of)
    }

    fn of_class(class: &str, config: &Config) -> Option<Self> {
        let (class, body) = section(class)?;
        let other = |sub: &Sub| {
            let own = config.parts.get(sub.key).filter(|own| own.as_str() != sub.default)?;
            let class = match sub.class {
                Some(usual) => most_alike(classes_of(own), usual),
                None => classes_of(own).next(),
            };
            let counts = config.counts.iter();
            let own = counts.filter_map(|(path, count)| Some((below(sub.key, path)?.to_owned(), *count)));
            let part = Config { counts: own.collect(), ..Config::default() };
            Some((sub.place, Self::of_class(class?, &part)?))
        };
        let subs = body.subs.iter().filter_map(other).collect();
        Some(Self { class, stated: false, body, subs, counts: config.counts.clone() })
    }

    /// Where the tensor `name` of a checkpoint is in memory.
    pub(crate) fn place(&self, name: &str) -> Placed {
        let count = |count: &Count| self.count(count);
        let placed = self.body.sources.iter().find_map(|source| from_source(source, name, count));
        if let Some(placed) = placed {
            return placed;
        }
        let moved = self.moved(name);
        for (place, sub) in &self.subs {
            if let Some(rest) = below(place, &moved) {
                return sub.place(rest).below(place);
            }
        }
        Placed::Whole(moved)
    }

    /// A number of the configuration.
    fn count(&self, count: &Count) -> usize {
        self.counts.get(count.key).copied().unwrap_or(count.default)
    }

    /// The tensors of a checkpoint whose rows are those of the tensor `name` in memory, or of matrix `expert` of that
    /// stack; none where a stack is one in the checkpoint as well.
    pub(crate) fn sources(&self, name: &str, expert: Option<usize>) -> Vec<String> {
        for (place, sub) in &self.subs {
            if let Some(rest) = below(place, name) {
                let file = |source: String| self.unmoved(&format!("{place}.{source}"));
                return sub.sources(rest, expert).into_iter().map(file).collect();
            }
        }
        for source in &self.body.sources {
            let size = match &source.change {
                Change::Join => 0,
                Change::JoinGroups(size) => self.count(size),
                _ => continue,
            };
            let found = source.to.iter().enumerate().find_map(|(at, to)| Some((at, numbers(to, name)?)));
            let Some((group, mut at)) = found else { continue };
            let number = expert.map(|expert| (group * size + expert).to_string());
            at.extend(number.as_deref());
            return source.from.iter().filter_map(|from| fill(from, &at)).collect();
        }
        if expert.is_some() { Vec::new() } else { vec![self.unmoved(name)] }
    }

    /// The name in the checkpoint of the tensor `name` in memory, which is the same tensor there.
    fn unmoved(&self, name: &str) -> String {
        let apply = |(from, to): &(&str, &str)| {
            let (numbers, rest) = prefix_numbers(to, name)?;
            let before = fill(from, &numbers)? + rest;
            (self.moved(&before) == name).then_some((rank(to, name, rest), before))
        };
        let best = self.body.moves.iter().filter_map(apply).max_by_key(|(rank, _)| *rank);
        best.map_or_else(|| name.to_owned(), |(_, name)| name)
    }

    /// The name after the rule with the longest beginning; of equals, that with more numbers of its own.
    fn moved(&self, name: &str) -> String {
        let apply = |(from, to): &(&str, &str)| {
            let (numbers, rest) = prefix_numbers(from, name)?;
            Some((rank(from, name, rest), fill(to, &numbers)? + rest))
        };
        let best = self.body.moves.iter().filter_map(apply).max_by_key(|(rank, _)| *rank);
        best.map_or_else(|| name.to_owned(), |(_, name)| name)
    }

    /// What the tensor `name` in memory, of `axes` axes, is; `None` where nothing is known of it.
    pub(crate) fn kind(&self, name: &str, axes: usize) -> Option<Kinds> {
        for (place, sub) in &self.subs {
            if let Some(rest) = below(place, name) {
                return sub.kind(rest, axes);
            }
        }
        // Lists hold modules of several kinds: what is said of matrices is not said of vectors.
        if axes < 2 {
            return None;
        }
        let fact = self.body.facts.iter().find(|(pattern, _)| numbers(pattern, name).is_some());
        let linear =
            |parameter, transposed| Kinds::Linear { parameter, transposed, head: self.may_be_head(name) };
        Some(match fact.map(|(_, fact)| *fact) {
            Some(Fact::Embedding) => Kinds::Embedding,
            Some(Fact::Transposed) => linear(false, true),
            Some(Fact::Convolution) => Kinds::Convolution,
            Some(Fact::Parameter) if !name.ends_with(".weight") => Kinds::Bare,
            Some(Fact::Parameter) => linear(true, false),
            Some(Fact::Attention) => Kinds::Attention,
            Some(Fact::Stack { transposed }) => Kinds::Stack { transposed },
            Some(Fact::Refused(why)) => Kinds::Refused(why),
            Some(Fact::Whole(why)) => Kinds::Whole(why),
            None if axes == 2 => {
                let parameter = self.body.moved.contains(&suffix_of(name.strip_suffix(".weight")?));
                linear(parameter, false)
            }
            None => return None,
        })
    }

    /// Names in memory that the names of a checkpoint do not show, with `*` for their numbers: those that are tied to
    /// others, and those that come of what is rearranged.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &str> {
        let tied = self.body.tied.iter().flat_map(|(one, other)| [*one, *other]);
        let other = self.body.sources.iter().filter(|source| source.change == Change::Other);
        tied.chain(other.flat_map(|source| source.to.iter().copied()))
    }

    /// The class of the model, where its configuration names it.
    pub(crate) fn stated_class(&self) -> Option<&'static str> {
        self.stated.then_some(self.class)
    }

    /// How PEFT wants the names of memory spelled in a file.
    pub(crate) fn spelling(&self) -> Spelling {
        Spelling::new(&self.body.keys)
    }

    /// Whether the weight `name` in memory, where it is called a head, is that of a language model or may be tied to
    /// an embedding.
    fn may_be_head(&self, name: &str) -> bool {
        let writes = task_of(self.class).is_some_and(is_generation);
        let within = self.body.languages.iter().any(|place| below(place, name).is_some());
        !self.stated || writes || within || self.is_tied_module(crate::naming::kind::module_of(name))
    }

    /// Whether the weight of `module` in memory is tied to another one.
    pub(crate) fn is_tied_module(&self, module: &str) -> bool {
        let weight = format!("{module}.weight");
        let is = |tied: &str| numbers(tied, &weight).is_some();
        self.body.tied.iter().any(|(one, other)| is(one) || is(other))
    }
}

impl Placed {
    /// The same of a model that is at `place` of another.
    fn below(self, place: &str) -> Self {
        let below = |name: String| format!("{place}.{name}");
        match self {
            Self::Whole(name) => Self::Whole(below(name)),
            Self::Turned(name) => Self::Turned(below(name)),
            Self::Joined { name, part, parts, expert } => {
                Self::Joined { name: below(name), part, parts, expert }
            }
            Self::JoinedStack { name, part, parts } => Self::JoinedStack { name: below(name), part, parts },
            Self::TurnedUnless { name, axis, entries } => {
                Self::TurnedUnless { name: below(name), axis, entries }
            }
            Self::Ordered { name, heads } => Self::Ordered { name: below(name), heads },
            Self::Split(names) => Self::Split(names.into_iter().map(|(name, o)| (below(name), o)).collect()),
            Self::Cut(names) => Self::Cut(names.into_iter().map(|(name, n)| (below(name), n)).collect()),
            Self::Other => Self::Other,
        }
    }
}

/// How much of `name` a pattern says that leaves `rest` of it.
fn rank(pattern: &str, name: &str, rest: &str) -> (usize, Reverse<usize>) {
    (name.len() - rest.len(), Reverse(stars(pattern)))
}

/// The class whose name ends most like `usual`, so with the same head on it; the first of those alike.
fn most_alike(classes: impl Iterator<Item = &'static str>, usual: &str) -> Option<&'static str> {
    let alike =
        |class: &&str| class.bytes().rev().zip(usual.bytes().rev()).take_while(|(a, b)| a == b).count();
    classes.min_by_key(|class| Reverse(alike(class)))
}

/// What of `name` lies below `place`.
fn below<'n>(place: &str, name: &'n str) -> Option<&'n str> {
    name.strip_prefix(place)?.strip_prefix('.')
}

/// Where `name` goes, if it is one of the sources.
fn from_source(source: &Source, name: &str, count: impl Fn(&Count) -> usize) -> Option<Placed> {
    let (part, mut at) =
        source.from.iter().enumerate().find_map(|(part, from)| Some((part, numbers(from, name)?)))?;
    let parts = source.from.len();
    let first = source.to.first()?;
    Some(match source.change {
        Change::Join => {
            let expert = if at.len() > stars(first) { Some(at.pop()?.parse().ok()?) } else { None };
            Placed::Joined { name: fill(first, &at)?, part, parts, expert }
        }
        Change::JoinGroups(size) => {
            let (expert, size) = (at.pop()?.parse::<usize>().ok()?, count(&size).max(1));
            let to = source.to.get(expert / size)?;
            Placed::Joined { name: fill(to, &at)?, part, parts, expert: Some(expert % size) }
        }
        Change::JoinStacks => Placed::JoinedStack { name: fill(first, &at)?, part, parts },
        Change::Split => {
            Placed::Split(source.to.iter().map(|to| Some((fill(to, &at)?, None))).collect::<Option<_>>()?)
        }
        Change::SplitOrder(heads) => {
            let target = |to: &&str| match to.strip_suffix('~') {
                Some(to) => Some((fill(to, &at)?, Some(count(&heads)))),
                None => Some((fill(to, &at)?, None)),
            };
            Placed::Split(source.to.iter().map(target).collect::<Option<_>>()?)
        }
        Change::TurnUnless { axis, entries } => {
            Placed::TurnedUnless { name: fill(first, &at)?, axis, entries: count(&entries) }
        }
        Change::Order(heads) => Placed::Ordered { name: fill(first, &at)?, heads: count(&heads) },
        Change::Cut(shares) => {
            let target = |(to, share): (&&str, &Count)| Some((fill(to, &at)?, count(share)));
            Placed::Cut(source.to.iter().zip(&shares).map(target).collect::<Option<_>>()?)
        }
        Change::Turn => Placed::Turned(fill(first, &at)?),
        Change::Other => Placed::Other,
    })
}

#[cfg(test)]
mod tests {
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
            assert_eq!(
                layout.place(memory),
                Placed::Whole(memory.to_owned()),
                "{class}: names of memory stay"
            );
            assert_eq!(layout.sources(memory, None), [file], "{class}");
        }
    }

    #[test]
    fn experts_become_rows_of_stacks() {
        let layout = layout("Qwen3MoeForCausalLM");
        let stack = "model.layers.5.mlp.experts.gate_up_proj";
        for (part, source) in ["gate_proj", "up_proj"].into_iter().enumerate() {
            let file = format!("model.layers.5.mlp.experts.17.{source}.weight");
            let placed = Placed::Joined { name: stack.to_owned(), part, parts: 2, expert: Some(17) };
            assert_eq!(layout.place(&file), placed);
            assert_eq!(layout.sources(stack, Some(17))[part], file);
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
    fn parts_of_another_type_have_the_same_head() {
        for (of, text, found) in [
            ("InstructBlipForConditionalGeneration", "llama", "LlamaForCausalLM"),
            ("LlavaForConditionalGeneration", "mistral", "MistralModel"),
        ] {
            let config = Config {
                architecture: Some(of.to_owned()),
                parts: [("text_config".to_owned(), text.to_owned())].into(),
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
        let Placed::Split(parts) = kimi.place("vision_tower.encoder.blocks.3.wqkv.weight") else { panic!() };
        let heads: Vec<_> = parts.iter().map(|(_, heads)| *heads).collect();
        assert_eq!(heads, [Some(4), Some(4), None]);

        let key = |name: &str| format!("text_config.num_{name}_heads");
        let molmo = with("Molmo2ForConditionalGeneration", &[(&key("attention"), 4), (&key("key_value"), 2)]);
        let Placed::Cut(parts) = molmo.place("model.transformer.blocks.1.self_attn.att_proj.weight") else {
            panic!()
        };
        assert_eq!(parts.iter().map(|(_, share)| *share).collect::<Vec<_>>(), [4, 2, 2]);

        let qwen = with("Qwen3VLMoeForConditionalGeneration", &[("text_config.hidden_size", 64)]);
        let name = "model.language_model.layers.0.mlp.experts.gate_up_proj";
        let turned = Placed::TurnedUnless { name: name.to_owned(), axis: 2, entries: 64 };
        assert_eq!(qwen.place(name), turned);

        let ernie = with("Ernie4_5_VLMoeForConditionalGeneration", &[("text_config.moe_num_experts", 4)]);
        for (file, kind, expert) in [(3, "text_moe", 3), (5, "vision_moe", 1)] {
            let file = format!("model.layers.1.mlp.experts.{file}.up_proj.weight");
            let stack = format!("model.language_model.layers.1.mlp.{kind}.experts.gate_up_proj");
            let placed = Placed::Joined { name: stack.clone(), part: 1, parts: 2, expert: Some(expert) };
            assert_eq!(ernie.place(&file), placed);
            assert_eq!(ernie.sources(&stack, Some(expert))[1], file);
        }
    }

    #[test]
    fn what_is_not_known_has_no_layout() {
        let config = Config { architecture: Some("NoSuchModel".to_owned()), ..Config::default() };
        assert!(Layout::of(&config, &std::iter::empty()).is_none());
    }
}
