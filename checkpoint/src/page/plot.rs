//! Axes and lines in SVG.

use maud::{Markup, html};
use std::fmt::Write;

/// The area that values are drawn in, in the units of the SVG.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub width: f64,
    pub height: f64,
    /// Room for the labels on the left, on the right, above and below.
    pub left: f64,
    pub right: f64,
    pub above: f64,
    pub below: f64,
    /// Smallest and largest values of both axes.
    pub x: [f64; 2],
    pub y: [f64; 2],
    /// Whether both are logarithmic; their smallest values are above 0 then.
    pub log: bool,
}

impl Frame {
    fn share(&self, value: f64, [least, most]: [f64; 2]) -> f64 {
        let share = if self.log {
            (value.max(least) / least).ln() / (most / least).ln().max(1e-9)
        } else {
            (value - least) / (most - least).max(1e-300)
        };
        share.clamp(0.0, 1.0)
    }

    pub fn x(&self, value: f64) -> f64 {
        self.left + self.share(value, self.x) * (self.width - self.left - self.right)
    }

    pub fn y(&self, value: f64) -> f64 {
        self.above + (1.0 - self.share(value, self.y)) * (self.height - self.above - self.below)
    }

    /// Where the x axis is.
    pub fn floor(&self) -> f64 {
        self.height - self.below
    }

    /// The `d` of a path through points.
    pub fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut d = String::new();
        for (i, (x, y)) in points.enumerate() {
            let _ = write!(d, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, self.x(x), self.y(y));
        }
        d
    }

    /// `viewBox`.
    pub fn view(&self) -> String {
        format!("0 0 {} {}", self.width, self.height)
    }

    /// Lines at `xs` and `ys` with their labels, and what the axes are.
    pub fn axes(&self, xs: &[(f64, String)], ys: &[(f64, String)], titles: [&str; 2]) -> Markup {
        let floor = self.floor();
        html! {
            @for (value, label) in ys {
                line.grid x1=(self.left) x2=(self.width - self.right) y1=(at(self.y(*value))) y2=(at(self.y(*value))) {}
                text.end x=(self.left - 6.0) y=(at(self.y(*value) + 4.0)) { (label) }
            }
            @for (value, label) in xs {
                line.tick x1=(at(self.x(*value))) x2=(at(self.x(*value))) y1=(floor) y2=(floor + 4.0) {}
                text.mid x=(at(self.x(*value))) y=(floor + 17.0) { (label) }
            }
            text.mid.title x=(at(f64::midpoint(self.left, self.width - self.right))) y=(floor + 34.0) { (titles[0]) }
            text.title x=(self.left) y="12" { (titles[1]) }
        }
    }

    /// What is not known, from `x` to the right, hatched.
    pub fn unknown(&self, x: f64) -> Markup {
        let from = self.x(x);
        html! {
            rect.unknown x=(at(from)) y=(self.above) width=(at((self.width - self.right - from).max(0.0)))
                height=(at(self.floor() - self.above)) {}
        }
    }
}

/// The hatching, once for a page: hidden, but not taken out, as fills refer to it.
pub fn hatching() -> Markup {
    html! {
        svg.defs width="0" height="0" aria-hidden="true" {
            defs {
                pattern id="hatched" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    line.hatch x1="0" y1="0" x2="0" y2="7" {}
                }
            }
        }
    }
}

/// A coordinate.
pub fn at(value: f64) -> String {
    format!("{value:.1}")
}

/// About `count` round values from 0 to `most`.
pub fn ticks(most: f64, count: f64) -> Vec<f64> {
    if most <= 0.0 || !most.is_finite() {
        return vec![0.0];
    }
    let power = 10.0_f64.powf((most / count).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|step| most / step <= count + 0.5);
    let step = step.unwrap_or(10.0 * power);
    (0_u32..100).map(|i| f64::from(i) * step).take_while(|&value| value <= most * 1.0001).collect()
}

/// A number for people, three digits.
pub fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0);
    #[allow(clippy::cast_sign_loss)] // clamped
    let text = format!("{value:.*}", digits as usize);
    if !(1e-5..1e6).contains(&value.abs()) {
        format!("{value:.1e}")
    } else if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(1.0, 4.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(ticks(0.07, 4.0).len(), 4);
        assert_eq!(ticks(0.0, 4.0), [0.0]);
        assert_eq!([0.0, 0.25, 1.0, 1234.0, 1e-9].map(short), ["0", "0.25", "1", "1234", "1.0e-9"]);
    }
}
