//! JSON as text, looked into and never built: what is asked for is found by scanning, all else is skipped, so that a file
//! takes no memory beyond its own bytes.
//!
//! Of a key that stands twice in an object the last one counts, as in Python.

use crate::error::{Error, Result};
use crate::source::not_weights;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// The text of a JSON file, checked.
#[derive(Debug)]
pub(crate) struct JsonText(String);

impl JsonText {
    pub(crate) fn root(&self) -> Json<'_> {
        Json(self.0.trim_ascii())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// The text of a JSON file with these bytes.
pub(super) fn checked(path: &Path, bytes: Vec<u8>) -> Result<JsonText> {
    if let Err(error) = Json::parse(&bytes) {
        let what =
            not_weights::pointer(&bytes).map_or_else(|| format!("not valid JSON: {error}"), str::to_owned);
        return Err(Error::format(path, what));
    }
    String::from_utf8(bytes).map(JsonText).map_err(|_| Error::format(path, "not valid JSON: not UTF-8"))
}

/// A value within a text that was checked; `null` where there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Checks that `bytes` are one JSON value.
    ///
    /// # Errors
    /// Where they are not, with the place.
    pub(crate) fn parse(bytes: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<&RawValue>(bytes).map(Self::from)
    }

    /// The value of `key` in an object; `null` where it is none, or lacks the key.
    pub(crate) fn at(self, key: &str) -> Self {
        let mut found = Self("null");
        self.each_entry(|name, value| {
            if name == key {
                found = value;
            }
            true
        });
        found
    }

    /// The values of several keys, found in one go.
    pub(crate) fn pick<const N: usize>(self, keys: [&str; N]) -> [Self; N] {
        let mut found = [Self("null"); N];
        self.each_entry(|name, value| {
            if let Some(at) = keys.iter().position(|key| *key == name) {
                found[at] = value;
            }
            true
        });
        found
    }

    /// The first element of an array, or `null`.
    pub(crate) fn first(self) -> Self {
        let mut first = Self("null");
        self.each(|value| {
            first = value;
            false
        });
        first
    }

    /// The first value of an object, or `null`.
    pub(crate) fn first_value(self) -> Self {
        let mut first = Self("null");
        self.each_entry(|_, value| {
            first = value;
            false
        });
        first
    }

    /// Its text.
    pub(crate) fn raw(self) -> &'a str {
        self.0
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(crate) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// A text.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        if !self.0.starts_with('"') {
            return None;
        }
        serde_json::Deserializer::from_str(self.0).deserialize_str(Text).ok()
    }

    pub(crate) fn bool(self) -> Option<bool> {
        serde_json::from_str(self.0).ok()
    }

    /// A whole number that is not negative.
    pub(crate) fn size(self) -> Option<usize> {
        serde_json::from_str(self.0).ok()
    }

    /// Any number.
    pub(crate) fn number(self) -> Option<f64> {
        serde_json::from_str(self.0).ok()
    }

    /// A list of at most `most` strings.
    pub(crate) fn texts(self, most: usize) -> Option<Vec<String>> {
        let (mut found, mut sound) = (Vec::new(), true);
        let is_list = self.each(|text| {
            sound = found.len() < most && text.text().map(|text| found.push(text.into_owned())).is_some();
            sound
        });
        (is_list && sound).then_some(found)
    }

    /// A list of whole numbers, which takes no more than four times the bytes of its text.
    pub(crate) fn sizes(self) -> Option<Vec<usize>> {
        let mut count = 0;
        self.each(|_| {
            count += 1;
            true
        })
        .then_some(())?;
        let mut sizes = Vec::with_capacity(count);
        let mut sound = true;
        self.each(|value| {
            sound &= value.size().map(|size| sizes.push(size)).is_some();
            sound
        });
        sound.then_some(sizes)
    }

    /// Hands out the elements of an array until `take` wants no more. Whether this is one.
    pub(crate) fn each(self, take: impl FnMut(Self) -> bool) -> bool {
        self.is_array() && serde_json::Deserializer::from_str(self.0).deserialize_seq(Elements(take)).is_ok()
    }

    /// Hands out the entries of an object, in order, until `take` wants no more. Whether this is one.
    pub(crate) fn each_entry(self, take: impl FnMut(Cow<'a, str>, Self) -> bool) -> bool {
        self.is_object() && serde_json::Deserializer::from_str(self.0).deserialize_map(Entries(take)).is_ok()
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(raw.get())
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As much as a message has room for.
        let end = (0..=self.0.len().min(80)).rev().find(|&end| self.0.is_char_boundary(end)).unwrap_or(0);
        f.write_str(&self.0[..end])
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(Json<'de>) -> bool> Visitor<'de> for Elements<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<S: SeqAccess<'de>>(mut self, mut list: S) -> std::result::Result<(), S::Error> {
        while let Some(value) = list.next_element::<&RawValue>()? {
            if !(self.0)(Json::from(value)) {
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

struct Entries<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, Json<'de>) -> bool> Visitor<'de> for Entries<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> std::result::Result<(), M::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            if !(self.0)(key, Json::from(map.next_value::<&RawValue>()?)) {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
pub(crate) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E>(self, key: &'de str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }
    fn visit_str<E>(self, key: &str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_asked_for() {
        let text = r#" {"a": {"b": [1, 2.5, "x\n", null]}, "n": -1, "t": true, "a": {"b": [7, 8]}, "\u0061c": "é"} "#;
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(json.at("a").at("b").sizes(), Some(vec![7, 8]), "the last one counts");
        assert_eq!(json.at("a").at("b").first().size(), Some(7));
        assert_eq!((json.at("n").size(), json.at("n").number()), (None, Some(-1.0)));
        assert_eq!(json.at("t").bool(), Some(true));
        assert_eq!(json.at("ac").text().as_deref(), Some("é"));
        assert!(json.at("zz").is_null() && json.at("a").at("zz").at("y").is_null() && json.first().is_null());
        assert!(json.at("t").text().is_none() && json.at("ac").sizes().is_none());
        let mut keys = Vec::new();
        assert!(json.each_entry(|key, _| {
            keys.push(key.into_owned());
            keys.len() < 3
        }));
        assert_eq!(keys, ["a", "n", "t"]);
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in ["", "{", "[1,]", "{\"a\":1} x", "{\"a\" 1}", "\u{1}", "[\"\\q\"]", "nul"] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn depth_is_no_recursion() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert!(Json::parse(deep.as_bytes()).is_ok_and(Json::is_array));
    }
}
