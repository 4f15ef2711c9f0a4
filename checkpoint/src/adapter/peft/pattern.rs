//! `rank_pattern` and `alpha_pattern`: numbers of the modules whose path, or its end after a dot, a key matches, as PEFT does it.
//! The first key that matches counts.
//!
//! Keys are regular expressions. Almost all are paths, in which only the dots mean more than themselves: those are looked up. All
//! others of a field are one set of expressions with limits on its length and on what it compiles to, since a few bytes of
//! expression can take a gigabyte.

use crate::error::{Error, Result};
use crate::source::json::Json;
use regex::{RegexSet, RegexSetBuilder};
use std::collections::HashMap;
use std::path::Path;

/// Most keys of a field.
const MAX_KEYS: usize = 1 << 18;

/// Longest text of all keys of a field that are no paths, in bytes.
const MAX_TEXT: usize = 1 << 14;

/// Most bytes that they compile to.
const MAX_COMPILED: usize = 1 << 18;

/// The numbers of one field.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    groups: Vec<Group>,
    expressions: RegexSet,
    /// Of each expression, its place among all keys and its number.
    numbers: Vec<(usize, f64)>,
}

/// Paths of one length, with dots in the same places.
#[derive(Debug)]
struct Group {
    form: Form,
    /// Place among all keys and number.
    paths: HashMap<Vec<u8>, (usize, f64)>,
}

/// What paths of a group have in common.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Form {
    len: usize,
    /// Where any character may be.
    any: Vec<usize>,
    /// Whether it begins with `^`, so that it matches whole paths only.
    whole: bool,
}

impl Patterns {
    /// Reads the `value` of `field` in the configuration at `path`; numbers are at least `least`.
    pub(super) fn read(path: &Path, field: &str, value: Json<'_>, least: f64) -> Result<Self> {
        let (mut groups, mut numbers) = (HashMap::<Form, HashMap<Vec<u8>, (usize, f64)>>::new(), Vec::new());
        let (mut texts, mut length, mut place, mut problem) = (Vec::new(), 0, 0, None);
        value.each_entry(|key, value| {
            let Some(number) = value.number().filter(|number| number.is_finite() && *number >= least) else {
                problem = Some(format!("{key} is not a pattern with a number that can be used"));
                return false;
            };
            if let Some((form, text)) = literal(&key) {
                let known = groups.entry(form).or_default().entry(text);
                known.and_modify(|(_, known)| *known = number).or_insert((place, number));
            } else {
                length += key.len();
                texts.push(format!(r"^(.*\.)?({key})$"));
                numbers.push((place, number));
            }
            place += 1;
            if place > MAX_KEYS || length > MAX_TEXT {
                problem = Some(format!(
                    "more than {MAX_KEYS} keys, or {MAX_TEXT} bytes of expressions that are not paths of modules"
                ));
            }
            problem.is_none()
        });
        let bad = |problem: String| Error::format(path, format!("{field}: {problem}"));
        if let Some(problem) = problem {
            return Err(bad(problem));
        }
        let set = RegexSetBuilder::new(&texts).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        let expressions = set.map_err(|error| {
            if let regex::Error::CompiledTooBig(_) = error {
                return bad(format!(
                    "its regular expressions take more than {MAX_COMPILED} bytes together; use paths of modules"
                ));
            }
            // One at a time, to name the one that is wrong.
            let one = |text: &&String| RegexSetBuilder::new([text]).size_limit(MAX_COMPILED).build().is_err();
            let key = texts.iter().find(one).map_or(error.to_string(), |text| {
                text.trim_start_matches(r"^(.*\.)?(").trim_end_matches(")$").to_owned()
            });
            bad(format!("{key} is not a pattern with a number that can be used"))
        })?;
        let groups = groups.into_iter().map(|(form, paths)| Group { form, paths }).collect();
        Ok(Self { groups, expressions, numbers })
    }

    /// The number of `module`, if any key matches it.
    pub(super) fn number(&self, module: &str) -> Option<f64> {
        let paths = self.groups.iter().filter_map(|group| group.find(module.as_bytes()));
        let expressions = self.expressions.matches(module).into_iter().next();
        let expressions = expressions.and_then(|first| self.numbers.get(first).copied());
        paths.chain(expressions).min_by_key(|(place, _)| *place).map(|(_, number)| number)
    }
}

impl Group {
    fn find(&self, module: &[u8]) -> Option<(usize, f64)> {
        let start = module.len().checked_sub(self.form.len)?;
        let boundary = start == 0 || !self.form.whole && module[start - 1] == b'.';
        if !boundary {
            return None;
        }
        let mut end = module[start..].to_vec();
        for &at in &self.form.any {
            end[at] = b'.';
        }
        self.paths.get(&end).copied()
    }
}

/// A key that is a path, in which a dot stands for any character unless a backslash is before it.
fn literal(key: &str) -> Option<(Form, Vec<u8>)> {
    let whole = key.starts_with('^');
    let key = key.strip_prefix('^').unwrap_or(key);
    let key = key.strip_suffix('$').unwrap_or(key);
    let (mut text, mut any) = (Vec::with_capacity(key.len()), Vec::new());
    let mut bytes = key.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => any.push(text.len()),
            b'\\' if bytes.next() == Some(b'.') => {}
            b'-' | b'_' | b'/' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {}
            _ => return None,
        }
        text.push(if byte == b'\\' { b'.' } else { byte });
    }
    Some((Form { len: text.len(), any, whole }, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;
    use std::fmt::Write;

    fn read(text: &str) -> Result<Patterns> {
        Patterns::read(Path::new("c"), "p", Json::parse(text.as_bytes()).unwrap(), 1.0)
    }

    #[test]
    fn paths_match_as_their_expressions_do() {
        let keys = ["q", "0.q", r"0\.q", "^a.0.q", "a.0.q$", "^q", "x_y", "a-b", ".", "", r"\.", "..q"];
        let modules = [
            "q", "a.q", "0.q", "a.0.q", "a.10.q", "ax0.q", "b.a.0.q", "0xq", "xq", "x_y", "z.x_y", "a-b", "",
            ".",
        ];
        for key in keys {
            assert!(literal(key).is_some(), "{key}");
            let expression = Regex::new(&format!(r"^(.*\.)?({key})$")).unwrap();
            let escaped = key.replace('\\', r"\\");
            let patterns = read(&format!("{{\"{escaped}\": 3}}")).unwrap();
            for module in modules {
                assert_eq!(
                    patterns.number(module).is_some(),
                    expression.is_match(module),
                    "{key} on {module}"
                );
            }
        }
    }

    #[test]
    fn the_first_key_counts_whatever_it_is() {
        let patterns = read(r#"{".*q": 1, "a.q": 2, "k": 3, "(k|v)": 4, "v": 5}"#).unwrap();
        for (module, number) in [("a.q", Some(1.0)), ("b.k", Some(3.0)), ("v", Some(4.0)), ("w", None)] {
            assert_eq!(patterns.number(module), number, "{module}");
        }
        assert_eq!(read("null").unwrap().number("a"), None);
    }

    #[test]
    fn few_bytes_of_expressions_take_little() {
        let large: String = (0..100).fold("{".to_owned(), |mut text, i| {
            let _ = write!(text, r#""a{i}(\\w{{100}}){{9}}": 1, "#);
            text
        });
        let message = read(&(large + r#""b": 1}"#)).unwrap_err().to_string();
        assert!(message.contains("take more than"), "{message}");
        let long = format!("{{\"{}\": 1}}", "a*".repeat(MAX_TEXT));
        assert!(read(&long).unwrap_err().to_string().contains("bytes of expressions"));
        for bad in [r#"{"(": 1}"#, r#"{"a": 0}"#, r#"{"a": "b"}"#, r#"{"a": null}"#] {
            assert!(read(bad).unwrap_err().to_string().contains("is not a pattern with a number"), "{bad}");
        }
    }

    #[test]
    fn many_paths_are_looked_up() {
        let many: String = (0..20_000).fold("{".to_owned(), |mut text, i| {
            let _ = write!(text, r#""model.layers.{i}.q_proj": {}, "#, i + 1);
            text
        });
        let start = std::time::Instant::now();
        let patterns = read(&(many + r#""b": 1}"#)).unwrap();
        for i in 0..20_000 {
            assert_eq!(patterns.number(&format!("x.model.layers.{i}.q_proj")), Some(f64::from(i + 1)));
        }
        // A busy machine takes its time; expressions in the place of the paths are refused above.
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
