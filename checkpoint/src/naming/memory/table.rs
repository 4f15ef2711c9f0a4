//! Reads `architectures.txt`: sections of facts, each for some classes of models.

use std::sync::LazyLock;

use super::text::text;

/// The facts, as the script wrote them.
static TEXT: LazyLock<String> = LazyLock::new(text);

/// Where several tensors of a checkpoint, or rows of one, go in memory.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) from: Vec<&'static str>,
    pub(super) to: Vec<&'static str>,
    pub(super) change: Change,
}

/// What happens to the values on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The rows of all become those of one, one source below the other; experts become a stack.
    Join,
    /// The same, and the experts go into several stacks, so many into each.
    JoinGroups(Count),
    /// The same of stacks, matrix by matrix.
    JoinStacks,
    /// The rows of one become those of several, in equal shares.
    Split,
    /// The last two axes are exchanged.
    Turn,
    /// The last two axes are exchanged unless this axis has so many entries.
    TurnUnless { axis: usize, entries: Count },
    /// The rows of each head come in halves, which alternate in the file; so many heads.
    Order(Count),
    /// The same of the targets whose names end in `~`, of which each has an equal share of the rows.
    SplitOrder(Count),
    /// The rows of one become those of several, in shares as these numbers.
    Cut([Count; 3]),
    /// Something else.
    Other,
}

/// A number in the configuration, and what it is where the configuration does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) key: &'static str,
    pub(super) default: usize,
}

impl Count {
    /// As in `vision_config.num_heads=16`.
    fn read(text: &'static str) -> Option<Self> {
        let (key, default) = text.split_once('=')?;
        Some(Self { key, default: default.parse().ok()? })
    }
}

/// What a weight in memory is to PEFT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// A lookup table.
    Embedding,
    /// Linear, stored [in, out].
    Transposed,
    /// A convolution that PEFT adapts exactly.
    Convolution,
    /// A matrix that is a parameter of a module of another kind.
    Parameter,
    /// The joint projection of a multi-head attention of torch, or its output projection.
    Attention,
    /// A stack of matrices, one for each expert; whether they are [in, out].
    Stack { transposed: bool },
    /// Nothing that PEFT adapts rightly, and why.
    Refused(&'static str),
    /// The same of a layer that PEFT's `modules_to_save` can take whole.
    Whole(&'static str),
}

/// The facts of some classes of models.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    /// Rules for the beginnings of names.
    pub(super) moves: Vec<(&'static str, &'static str)>,
    pub(super) sources: Vec<Source>,
    /// By pattern of the names in memory; parameters of one module in the order of its class.
    pub(super) facts: Vec<(&'static str, Fact)>,
    /// Last names of the paths of modules that PEFT takes for experts wherever it meets them as targets.
    pub(super) moved: Vec<&'static str>,
    pub(super) tied: Vec<(&'static str, &'static str)>,
    /// Beginnings of names in memory, and what PEFT wants them to be in a file.
    pub(super) keys: Vec<(&'static str, &'static str)>,
    pub(super) subs: Vec<Sub>,
    /// The places of those that are language models with a head of their own.
    pub(super) languages: Vec<&'static str>,
}

/// A model within the model that may be of any type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sub {
    /// Where it is in memory.
    pub(super) place: &'static str,
    /// Where its configuration is.
    pub(super) key: &'static str,
    /// The usual `model_type`.
    pub(super) default: &'static str,
    /// The class of that, if it is not the bare model.
    pub(super) class: Option<&'static str>,
}

/// `class` as the table spells it, and the lines of its section; `None` where it has none.
pub(super) fn section(class: &str) -> Option<(&'static str, Body)> {
    let mut lines = TEXT.lines();
    let named = |line: &'static str| words(line.strip_prefix("class ")?).find(|known| *known == class);
    let class = lines.find_map(named)?;
    let mut body = Body::default();
    for line in lines.take_while(|line| line.starts_with(' ')) {
        read(line.trim(), &mut body);
    }
    Some((class, body))
}

/// The classes of `model_type`: the bare model first, then the causal one, then others.
pub(super) fn classes_of(model_type: &str) -> impl Iterator<Item = &'static str> {
    lines("type ")
        .filter(move |line| words(line).next() == Some(model_type))
        .flat_map(|line| words(line).skip(1))
}

/// PEFT's task type for models of `class`, where it has one.
pub(crate) fn task_of(class: &str) -> Option<&'static str> {
    let found = lines("task ").find(|line| words(line).skip(1).any(|c| c == class))?;
    words(found).next()
}

/// Whether models of this task write text.
pub(super) fn is_generation(task: &str) -> bool {
    matches!(task, "CAUSAL_LM" | "SEQ_2_SEQ_LM")
}

/// The order of the parameters `names` of one module, by the stacks of all classes: PEFT nests its wrappers in it.
pub(crate) fn param_order(names: &mut [&str]) {
    names.sort_by_key(|name| STACKS.iter().position(|known| known == name).unwrap_or(usize::MAX));
}

/// Last words of the names of stacks, in an order that is that of every class.
static STACKS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut order = Vec::<&str>::new();
    let (mut owner, mut after) = ("", 0);
    for line in TEXT.lines() {
        let mut words = words(line);
        let Some(("S" | "ST", name)) = words.next().zip(words.next()) else { continue };
        let (module, parameter) = name.rsplit_once('.').unwrap_or(("", name));
        if module != owner {
            (owner, after) = (module, 0);
        }
        let known = order.iter().position(|known| *known == parameter);
        let at = known.unwrap_or_else(|| {
            order.insert(after, parameter);
            after
        });
        after = at + 1;
    }
    order
});

/// What follows `key` in the lines that begin with it.
fn lines(key: &'static str) -> impl Iterator<Item = &'static str> {
    TEXT.lines().filter_map(move |line| line.strip_prefix(key))
}

fn words(line: &'static str) -> impl Iterator<Item = &'static str> {
    line.split_ascii_whitespace()
}

/// Takes one line of a section.
fn read(line: &'static str, body: &mut Body) {
    let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (main, reason) = rest.split_once(" : ").unwrap_or((rest, ""));
    let sides = || {
        let (from, to) = main.split_once(" > ")?;
        Some((words(from).collect::<Vec<_>>(), words(to).collect::<Vec<_>>()))
    };
    let counts = || {
        let [one, two, three] =
            main.split_once(" > ")?.0.split_once(' ')?.0.split(',').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        Some([Count::read(one)?, Count::read(two)?, Count::read(three)?])
    };
    let count = || Count::read(words(main).next()?);
    let change = match key {
        "turnunless" => words(main).next().and_then(|first| {
            let (axis, entries) = first.split_once(':')?;
            Some(Change::TurnUnless { axis: axis.parse().ok()?, entries: Count::read(entries)? })
        }),
        "joingroups" => count().map(Change::JoinGroups),
        "order" => count().map(Change::Order),
        "splitorder" => count().map(Change::SplitOrder),
        "cut" => counts().map(Change::Cut),
        "join" => Some(Change::Join),
        "joinstack" => Some(Change::JoinStacks),
        "split" => Some(Change::Split),
        "turn" => Some(Change::Turn),
        "other" => Some(Change::Other),
        _ => None,
    };
    if let (Some(change), Some((mut from, to))) = (change, sides()) {
        let has_count = !matches!(
            change,
            Change::Join | Change::JoinStacks | Change::Split | Change::Turn | Change::Other
        );
        if has_count {
            from.remove(0);
        }
        body.sources.push(Source { from, to, change });
        return;
    }
    let fact = match key {
        "E" => Some(Fact::Embedding),
        "T" => Some(Fact::Transposed),
        "C" => Some(Fact::Convolution),
        "P" => Some(Fact::Parameter),
        "M" => Some(Fact::Attention),
        "S" => Some(Fact::Stack { transposed: false }),
        "ST" => Some(Fact::Stack { transposed: true }),
        "X" | "R" => Some(Fact::Refused(reason)),
        "W" => Some(Fact::Whole(reason)),
        _ => None,
    };
    if let Some(fact) = fact {
        body.facts.push((main, fact));
        return;
    }
    let mut rest = words(main);
    match (key, rest.next(), rest.next(), rest.next()) {
        ("move", Some(from), Some(">"), Some(to)) => body.moves.push((from, to)),
        ("key", Some(from), Some(">"), Some(to)) => body.keys.push((from, to)),
        ("tied", Some(one), Some(other), None) => body.tied.push((one, other)),
        ("sub", Some(place), Some(key), Some(default)) => {
            let class = rest.next();
            body.subs.push(Sub { place, key, default, class });
            if class.is_some_and(|class| task_of(class).is_some_and(is_generation)) {
                body.languages.push(place);
            }
        }
        ("moves", ..) => body.moved = words(main).collect(),
        _ => debug_assert!(false, "a line of architectures.txt that is not understood: {line}"),
    }
}
