//! Axes and lines in SVG.

use maud::{Markup, html};
use std::fmt::Write;

/// The area that values are drawn in, in the units of the SVG.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub width: f64,
    pub height: f64,
    /// Room for the labels on the left and below.
    pub left: f64,
    pub below: f64,
    /// Largest values of both axes; smallest x, for a logarithmic axis.
    pub most: (f64, f64),
    pub least_x: Option<f64>,
}

/// Room above and on the right.
const EDGE: f64 = 12.0;

impl Frame {
    pub fn x(&self, value: f64) -> f64 {
        let share = match self.least_x {
            Some(least) => (value / least).ln() / (self.most.0 / least).ln().max(1e-9),
            None => value / self.most.0.max(1e-300),
        };
        self.left + share.clamp(0.0, 1.0) * (self.width - self.left - EDGE)
    }

    pub fn y(&self, value: f64) -> f64 {
        let share = (value / self.most.1.max(1e-300)).clamp(0.0, 1.0);
        EDGE + (1.0 - share) * (self.height - self.below - EDGE)
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

    /// Lines at `xs` and `ys` with their labels.
    pub fn axes(&self, xs: &[(f64, String)], ys: &[(f64, String)]) -> Markup {
        let floor = self.height - self.below;
        html! {
            @for (value, label) in ys {
                line.grid x1=(self.left) x2=(self.width - EDGE) y1=(at(self.y(*value))) y2=(at(self.y(*value))) {}
                text.end x=(self.left - 6.0) y=(at(self.y(*value) + 4.0)) { (label) }
            }
            @for (value, label) in xs {
                line.tick x1=(at(self.x(*value))) x2=(at(self.x(*value))) y1=(floor) y2=(floor + 4.0) {}
                text.mid x=(at(self.x(*value))) y=(floor + 17.0) { (label) }
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
