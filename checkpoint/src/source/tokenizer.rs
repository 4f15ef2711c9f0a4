//! Whether two models have the same tokenizer, by the files beside their weights or the keys in them.

use crate::source::gguf::Value;
use crate::source::mapped::Mapped;
use crate::source::model::Model;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Names at most this many tokens.
const NAMED: usize = 3;

/// Most tokens of a vocabulary that is compared token by token.
const MOST: usize = 1 << 20;

/// Files with the tokens, in the order in which transformers prefers them.
const FILES: [&str; 4] = ["tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model"];

/// The key of a GGUF file that lists its tokens.
const TOKENS: &str = "tokenizer.ggml.tokens";

/// Tokens by their number.
type Vocabulary = BTreeMap<u64, String>;

/// What of `tokenizer.json` says which number a token has.
#[derive(Debug, Deserialize)]
struct Json {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: JsonModel,
}

#[derive(Debug, Deserialize)]
struct Added {
    id: u64,
    content: String,
}

#[derive(Debug, Deserialize)]
struct JsonModel {
    vocab: Vocab,
}

/// The tokens of BPE and WordPiece, by name, or of unigrams, in order with their scores.
#[derive(Debug)]
struct Vocab(Vocabulary);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vocab;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Vocab, M::Error> {
                let mut tokens = Vocabulary::new();
                while let Some((name, id)) = map.next_entry::<String, u64>()? {
                    tokens.insert(id, name);
                    check::<M::Error>(&tokens)?;
                }
                Ok(Vocab(tokens))
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Vocab, S::Error> {
                let mut tokens = Vocabulary::new();
                while let Some((name, _)) = list.next_element::<(String, IgnoredAny)>()? {
                    tokens.insert(tokens.len() as u64, name);
                    check::<S::Error>(&tokens)?;
                }
                Ok(Vocab(tokens))
            }
        }
        deserializer.deserialize_any(Collect)
    }
}

/// Refuses more tokens than any model has.
fn check<E: serde::de::Error>(tokens: &Vocabulary) -> Result<(), E> {
    if tokens.len() > MOST { Err(E::custom("too many tokens")) } else { Ok(()) }
}

/// What differs in the tokenizers of the two, as far as both have one.
pub(crate) fn doubt(base: &Model, tuned: &Model) -> Option<String> {
    if base.is_gguf() && tuned.is_gguf() {
        let names = [base, tuned].map(|model| format!("{TOKENS} of {}", model.path().display()));
        return compared(&names, &listed(base)?, &listed(tuned)?);
    }
    let directory = |model: &Model| model.files().next()?.parent().map(Path::to_owned);
    let (base, tuned) = (directory(base)?, directory(tuned)?);
    let name = FILES.iter().find(|name| base.join(name).is_file() && tuned.join(name).is_file())?;
    let paths = [base.join(name), tuned.join(name)];
    let [one, other] = [Mapped::open(&paths[0]).ok()?, Mapped::open(&paths[1]).ok()?];
    if one.bytes() == other.bytes() {
        return None;
    }
    let names = paths.map(|path| path.display().to_string());
    match [one, other].map(|file| vocabulary(name, file.bytes())) {
        [Some(base), Some(tuned)] => compared(&names, &base, &tuned),
        // What is in it is not known, but it is not the same.
        _ => {
            Some(format!("{} and {} differ: the adapter has to be used with the second", names[0], names[1]))
        }
    }
}

/// The tokens in a file of this name.
fn vocabulary(name: &str, bytes: &[u8]) -> Option<Vocabulary> {
    match name {
        "vocab.json" => serde_json::from_slice::<Vocab>(bytes).ok().map(|vocab| vocab.0),
        "vocab.txt" => {
            let lines = std::str::from_utf8(bytes).ok()?.lines();
            if lines.clone().nth(MOST).is_some() {
                return None;
            }
            Some((0..).zip(lines.map(str::to_owned)).collect())
        }
        "tokenizer.json" => {
            let json: Json = serde_json::from_slice(bytes).ok()?;
            let mut tokens = json.model.vocab.0;
            tokens.extend(json.added_tokens.into_iter().map(|added| (added.id, added.content)));
            Some(tokens)
        }
        _ => None,
    }
}

/// The tokens in the keys of a GGUF model.
fn listed(model: &Model) -> Option<Vocabulary> {
    let files = model.gguf_files().ok()?;
    let Value::Array(tokens) = files.first()?.0.get(TOKENS)? else { return None };
    if tokens.iter().nth(MOST).is_some() {
        return None;
    }
    let text = |value: Value<'_>| value.to_str().unwrap_or_default().to_owned();
    Some((0..).zip(tokens.iter().map(text)).collect())
}

/// What is not the same; `names` are where the vocabularies are.
fn compared([base, tuned]: &[String; 2], own: &Vocabulary, other: &Vocabulary) -> Option<String> {
    let quoted = |tokens: &mut dyn Iterator<Item = &str>| {
        let mut tokens = tokens.peekable();
        let shown: Vec<_> = tokens.by_ref().take(NAMED).collect();
        let more = if tokens.peek().is_some() { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    };
    let both = own.iter().filter(|(id, _)| other.contains_key(id)).count();
    let renamed: Vec<_> = own
        .iter()
        .filter_map(|(id, name)| other.get(id).filter(|new| *new != name).map(|new| (id, name, new)))
        .collect();
    if let Some((id, old, new)) = renamed.first() {
        let so = if 2 * renamed.len() > both {
            "another tokenizer, are the two models a pair?"
        } else {
            "the adapter has to be used with the first"
        };
        return Some(format!(
            "{tuned} has another token at {} of {both} numbers than {base} (at {id}: {new}, not {old}): {so}",
            renamed.len()
        ));
    }
    let only = |one: &Vocabulary, other: &Vocabulary| -> Vec<String> {
        one.iter().filter(|(id, _)| !other.contains_key(id)).map(|(_, name)| name.clone()).collect()
    };
    let (added, removed) = (only(other, own), only(own, other));
    if !added.is_empty() {
        return Some(format!(
            "{tuned} has {} that {base} lacks: {}; the adapter has to be used with it",
            count(added.len()),
            quoted(&mut added.iter().map(String::as_str))
        ));
    }
    (!removed.is_empty()).then(|| {
        format!(
            "{tuned} lacks {} that {base} has: {}",
            count(removed.len()),
            quoted(&mut removed.iter().map(String::as_str))
        )
    })
}

fn count(tokens: usize) -> String {
    format!("{tokens} token{}", if tokens == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabularies_of_every_file() {
        let expected = Vocabulary::from([(0, "a".to_owned()), (1, "b".to_owned())]);
        for (name, text) in [
            ("vocab.json", r#"{"b": 1, "a": 0}"#),
            ("vocab.txt", "a\nb\n"),
            ("tokenizer.json", r#"{"model": {"vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}"#),
            ("tokenizer.json", r#"{"model": {"vocab": [["a", 0.0], ["b", -1.5]]}}"#),
            (
                "tokenizer.json",
                r#"{"added_tokens": [{"id": 1, "content": "b"}], "model": {"vocab": {"a": 0}}}"#,
            ),
        ] {
            assert_eq!(vocabulary(name, text.as_bytes()).as_ref(), Some(&expected), "{text}");
        }
        assert!(vocabulary("tokenizer.json", b"{}").is_none());
    }

    #[test]
    fn no_more_tokens_are_compared_than_any_model_has() {
        let list = |tokens: usize| {
            format!(r#"{{"model":{{"vocab":[{}["b",0]]}}}}"#, r#"["a",0],"#.repeat(tokens - 1))
        };
        assert_eq!(vocabulary("tokenizer.json", list(MOST).as_bytes()).unwrap().len(), MOST);
        assert!(vocabulary("tokenizer.json", list(MOST + 1).as_bytes()).is_none());
        assert_eq!(vocabulary("vocab.txt", "a\n".repeat(MOST).as_bytes()).unwrap().len(), MOST);
        assert!(vocabulary("vocab.txt", "a\n".repeat(MOST + 1).as_bytes()).is_none());
    }

    #[test]
    fn what_is_not_the_same_is_counted_and_named() {
        let tokens =
            |names: &[&str]| (0..).zip(names.iter().map(|name| (*name).to_owned())).collect::<Vocabulary>();
        let said = |own: &[&str], other: &[&str]| {
            compared(&["base".into(), "tuned".into()], &tokens(own), &tokens(other))
        };
        let abc = ["a", "b", "c", "d"];
        assert_eq!(said(&abc, &abc), None);
        let starts = |said: Option<String>, text: &str| {
            let said = said.unwrap();
            assert!(said.starts_with(text), "{said}");
        };
        let half = "tuned has another token at 2 of 4 numbers than base (at 0: x, not a): the adapter has";
        starts(said(&abc, &["x", "y", "c", "d"]), half);
        let most = "tuned has another token at 3 of 4 numbers than base (at 0: x, not a): another tokenizer";
        starts(said(&abc, &["x", "y", "z", "d"]), most);
        starts(said(&abc[..3], &abc), "tuned has 1 token that base lacks: d; ");
        starts(said(&[], &abc), "tuned has 4 tokens that base lacks: a, b, c, …; ");
        assert_eq!(said(&abc, &abc[..1]).unwrap(), "tuned lacks 3 tokens that base has: b, c, d");
        assert_eq!(said(&abc, &abc[..3]).unwrap(), "tuned lacks 1 token that base has: d");
    }
}
