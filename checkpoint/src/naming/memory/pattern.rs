//! Patterns of names: dotted paths in which `*` stands for one name that is a number.

use crate::naming::kind::is_number;

/// The numbers of `name` at the `*` of `pattern`, in order; `None` where the name does not match as a whole.
pub(super) fn numbers<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let (numbers, rest) = prefix_numbers(pattern, name)?;
    rest.is_empty().then_some(numbers)
}

/// The same for a pattern that matches the first names of `name`, and what follows: empty, or beginning with a dot.
pub(crate) fn prefix_numbers<'n>(pattern: &str, name: &'n str) -> Option<(Vec<&'n str>, &'n str)> {
    let (mut numbers, mut rest) = (Vec::new(), name);
    for (at, wanted) in pattern.split('.').enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('.')?;
        }
        let end = rest.find('.').unwrap_or(rest.len());
        let (own, after) = rest.split_at(end);
        match wanted {
            "*" if is_plain(own) => numbers.push(own),
            _ if wanted == own => {}
            _ => return None,
        }
        rest = after;
    }
    Some((numbers, rest))
}

/// Whether a name is a number without leading zeros: with them two names would be one expert.
fn is_plain(name: &str) -> bool {
    is_number(name) && (name.len() == 1 || !name.starts_with('0'))
}

/// `pattern` with the first of `numbers` at each `*`; `None` where there are too few.
pub(crate) fn fill(pattern: &str, numbers: &[&str]) -> Option<String> {
    let mut numbers = numbers.iter();
    let mut name = String::with_capacity(pattern.len() + 8);
    for (at, own) in pattern.split('.').enumerate() {
        if at > 0 {
            name.push('.');
        }
        name.push_str(if own == "*" { numbers.next()? } else { own });
    }
    Some(name)
}

/// How many `*` a pattern has.
pub(super) fn stars(pattern: &str) -> usize {
    pattern.split('.').filter(|own| *own == "*").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        assert_eq!(numbers("a.*.b.*.c", "a.3.b.12.c"), Some(vec!["3", "12"]));
        for name in ["a.3.b.12", "a.3.b.12.c.d", "a.03.b.12.c", "a.x.b.12.c", "aa.3.b.12.c", "a..b.12.c", ""]
        {
            assert_eq!(numbers("a.*.b.*.c", name), None, "{name}");
        }
        assert_eq!(prefix_numbers("a.*", "a.3.b.c"), Some((vec!["3"], ".b.c")));
        assert_eq!(prefix_numbers("a.*", "a.3"), Some((vec!["3"], "")));
        assert_eq!(prefix_numbers("a.1", "a.3"), None);
        assert_eq!(prefix_numbers("vision", "vision_tower.x"), None);
        assert_eq!(fill("x.*.y.*", &["3", "12", "7"]).as_deref(), Some("x.3.y.12"));
        assert_eq!(fill("x.*.y.*", &["3"]), None);
        assert_eq!(stars("a.*.b.*"), 2);
    }
}
