//! What the weights of a model are called, and what they are: told by their names ([`kind`]), in GGUF files ([`arch`]), and
//! in memory, as transformers builds the model ([`memory`]).

pub(crate) mod arch;
pub(crate) mod kind;
pub(crate) mod memory;
pub(crate) mod spelling;
