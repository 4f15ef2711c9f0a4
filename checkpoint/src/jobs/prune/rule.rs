//! Rules that choose a rank by singular values alone, as kohya's and mergekit's tools have them.

/// How many of the largest singular values are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// Those above the largest divided by this: kohya's `sv_ratio`.
    Ratio(f64),
    /// As few as hold this share of their sum: kohya's `sv_cumulative`.
    Cumulative(f64),
    /// As few as hold this share of the root of the sum of their squares: kohya's `sv_fro`. An energy of its square.
    Frobenius(f64),
    /// Those above this: mergekit's `sv-epsilon`.
    Above(f64),
}

impl Rule {
    /// The rank of a matrix with these singular values, descending. At least 1, but for [`Above`](Self::Above).
    pub(super) fn rank(self, singular_values: &[f32]) -> usize {
        let values = || singular_values.iter().map(|&sigma| f64::from(sigma));
        let above = |least: f64| values().take_while(|&sigma| sigma > least).count();
        let holding = |share: f64, weight: fn(f64) -> f64| {
            let all: f64 = values().map(weight).sum();
            let mut sum = 0.0;
            let short = |sigma: &f64| {
                sum += weight(*sigma);
                sum < share * all
            };
            values().take_while(short).count() + 1
        };
        let least = usize::from(!singular_values.is_empty());
        match self {
            Self::Above(epsilon) => above(epsilon),
            Self::Ratio(ratio) => above(values().next().unwrap_or(0.0) / ratio).max(least),
            Self::Cumulative(share) => holding(share, |sigma| sigma).clamp(least, singular_values.len()),
            Self::Frobenius(share) => {
                holding(share * share, |sigma| sigma * sigma).clamp(least, singular_values.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn ranks_are_those_of_the_definitions() {
        let sigma = [4.0, 2.0, 1.0, 1.0];
        for (rule, rank) in [
            (Rule::Ratio(1.0), 1),
            (Rule::Ratio(2.0), 1),
            (Rule::Ratio(2.1), 2),
            (Rule::Ratio(100.0), 4),
            // 4, 6, 7, 8 of 8.
            (Rule::Cumulative(0.5), 1),
            (Rule::Cumulative(0.51), 2),
            (Rule::Cumulative(0.75), 2),
            (Rule::Cumulative(1.0), 4),
            // 16, 20, 21, 22 of 22.
            (Rule::Frobenius(0.85), 1),
            (Rule::Frobenius(0.9), 2),
            (Rule::Frobenius(1.0), 4),
            (Rule::Above(0.0), 4),
            (Rule::Above(1.0), 2),
            (Rule::Above(9.0), 0),
        ] {
            assert_eq!(rule.rank(&sigma), rank, "{rule:?}");
        }
        assert_eq!(Rule::Ratio(2.0).rank(&[]), 0);
    }
}
