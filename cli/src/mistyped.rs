//! Hints for what clap refuses.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// The error, with what was meant where that is plain.
pub fn explained(mut error: Error) -> Error {
    let extra = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) if !word.starts_with('-') => {
            word.clone()
        }
        _ => return error,
    };
    // Of a command that writes something.
    let writes = |usage: &ContextValue| usage.to_string().contains("--output");
    if error.get(ContextKind::Usage).is_some_and(writes) {
        let hint = format!("what is written is named by -o, as in '-o {extra}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}
