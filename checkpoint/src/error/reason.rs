//! What could be done about an error.

/// What an error comes from, where the caller can change it. Interfaces say what to do in their own words: the command by
/// its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A weight cannot be used; [`Filter::exclude`](crate::Filter::exclude) leaves its module out.
    Unusable,
    /// What differs is left out by [`Filter`](crate::Filter) alone.
    FilteredOut,
    /// [`Filter::exclude`](crate::Filter::exclude) takes back what [`Filter::include`](crate::Filter::include) names.
    AlsoExcluded,
    /// PEFT does not adapt the module under its name in memory; with
    /// [`Names::Checkpoint`](crate::Names::Checkpoint) it is extracted.
    NotAdaptedByPeft,
    /// It is a layer that PEFT takes whole, which was not asked for.
    WholeLayer,
    /// A vocabulary has another number of rows; [`Also::tokens`](crate::Also::tokens) stores rows.
    OtherRows,
    /// LoRA cannot represent the weight of a norm; [`Also::norms`](crate::Also::norms) stores it.
    Norm,
    /// LoRA cannot represent a bias; [`Also::biases`](crate::Also::biases) stores it.
    Bias,
    /// The output exists, and replacing it was not asked for, which works where it is what this names.
    Exists(&'static str),
    /// Memory is short: fewer threads or less scratch need less.
    Memory,
    /// The system refused memory whose size follows from a file.
    NoMemory,
    /// Weights from an address are larger than what may be held of them; more may, on a disk where memory is short
    /// ([`RemoteOptions`](crate::RemoteOptions)).
    Spool,
    /// A factor is beyond the range of its storage format; bf16 and f32 have a wider one.
    Range,
    /// Nothing says the architecture of the base.
    NoArchitecture,
    /// Nothing says the number of attention heads of the base.
    NoHeads,
    /// Only the names of the base's own tensors tell what is meant.
    NoBase,
    /// Nothing says what single files call the base: neither its files nor a prefix.
    NoBaseOrPrefix,
    /// It is a DoRA adapter, which [`merge`](crate::merge) and [`convert`](crate::convert) take with its base.
    Dora,
    /// What single files call the base is not known, and no prefix is given.
    NoPrefix,
    /// The names are none that ComfyUI reads with dots; it reads [`AdapterFormat::Kohya`](crate::AdapterFormat::Kohya) as
    /// well.
    Dotted,
}
