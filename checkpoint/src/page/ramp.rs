//! Colours of values: a few steps from paper to accent in both schemes, each with the text colour that is read on it.

use std::fmt::Write;

/// Steps of a ramp.
pub const STEPS: usize = 8;

type Rgb = [u8; 3];

/// Paper and accent, in the light scheme and in the dark one, as in style.css.
const SCHEMES: [(Rgb, Rgb); 2] =
    [([0xfb, 0xfa, 0xf7], [0x14, 0x5c, 0x6e]), ([0x14, 0x18, 0x1a], [0x68, 0xbe, 0xcb])];

/// The step of a value from 0 to 1.
pub fn step(value: f64) -> usize {
    #[allow(clippy::cast_sign_loss)] // clamped
    let step = (value.clamp(0.0, 1.0) * STEPS as f64) as usize;
    step.min(STEPS - 1)
}

/// The rules for the classes `h0`, `h1`, ….
pub fn rules() -> String {
    let mut css = String::new();
    for (scheme, (paper, accent)) in SCHEMES.into_iter().enumerate() {
        if scheme == 1 {
            css.push_str("@media (prefers-color-scheme: dark) {\n");
        }
        for step in 0..STEPS {
            let colour = mixed(paper, accent, (step as f64 + 0.4) / (STEPS as f64 - 0.6));
            let _ = writeln!(css, ".h{step} {{ background: {}; color: {} }}", hex(colour), hex(ink(colour)));
        }
        if scheme == 1 {
            css.push_str("}\n");
        }
    }
    css
}

fn mixed(from: Rgb, to: Rgb, share: f64) -> Rgb {
    let one = |at: usize| {
        let (a, b) = (f64::from(from[at]), f64::from(to[at]));
        #[allow(clippy::cast_sign_loss)] // between two bytes
        let mixed = (a + (b - a) * share.clamp(0.0, 1.0)).round() as u8;
        mixed
    };
    [one(0), one(1), one(2)]
}

/// Black or white, whichever stands out more.
fn ink(on: Rgb) -> Rgb {
    let (black, white) = ([0; 3], [255; 3]);
    if contrast(on, black) > contrast(on, white) { black } else { white }
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The contrast of two colours as WCAG 2 defines it.
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(colour: Rgb) -> f64 {
    let linear = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let [r, g, b] = colour.map(linear);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_out_of_every_step() {
        for (paper, accent) in SCHEMES {
            for step in 0..=100_u8 {
                let colour = mixed(paper, accent, f64::from(step) / 100.0);
                assert!(contrast(colour, ink(colour)) >= 4.5, "{colour:?}");
            }
        }
        assert_eq!([0.0, 0.124, 0.126, 0.999, 1.0, 7.0].map(step), [0, 0, 1, 7, 7, 7]);
        let style = include_str!("style.css");
        assert!(SCHEMES.iter().all(|(paper, accent)| {
            style.contains(&format!("paper: {}", hex(*paper)))
                && style.contains(&format!("accent: {}", hex(*accent)))
        }));
    }
}
