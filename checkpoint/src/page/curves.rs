//! Singular values of every module, a plot per kind: the chosen rank and the noise floor marked.

use super::plot::{Frame, at, short, ticks};
use crate::report::{ModuleReport, Report};
use maud::{Markup, html};
use std::collections::BTreeMap;

pub fn section(report: &Report) -> Markup {
    let mut kinds = BTreeMap::<&str, Vec<&ModuleReport>>::new();
    for module in report.modules.iter().filter(|module| !module.singular_values.is_empty()) {
        kinds.entry(&module.kind).or_default().push(module);
    }
    html! {
        section aria-labelledby="curves" {
            h2 id="curves" { "What the spectra look like" }
            p {
                "Singular values of each module, a line per layer. The dot is the chosen rank; beyond it the "
                "line is what is left, as far as it is known, a bound from below. The dashed line is the median "
                "noise floor: what lies below it cannot be told from noise."
            }
            div.panels {
                @for (i, (kind, modules)) in kinds.iter().enumerate() { (panel(i, kind, modules)) }
            }
        }
    }
}

fn panel(index: usize, kind: &str, modules: &[&ModuleReport]) -> Markup {
    let kind = if kind.is_empty() { "module" } else { kind };
    let spectra: Vec<_> = modules.iter().map(|module| module.spectrum()).collect();
    let longest = spectra.iter().map(Vec::len).max().unwrap_or(1).max(2);
    let largest = spectra.iter().filter_map(|spectrum| spectrum.first()).fold(0.0_f32, |a, &b| a.max(b));
    let frame = Frame {
        width: 320.0,
        height: 200.0,
        left: 46.0,
        below: 26.0,
        most: (longest as f64, f64::from(largest)),
        least_x: Some(1.0),
    };
    // Powers of two, or of four where there are many.
    let xs: Vec<_> = (0..=20)
        .step_by(if longest < 40 { 1 } else { 2 })
        .map(|power| f64::from(1_u32 << power))
        .filter(|&x| x <= longest as f64)
        .map(|x| (x, format!("{x}")))
        .collect();
    let ys: Vec<_> = ticks(f64::from(largest), 4.0).into_iter().map(|y| (y, short(y))).collect();
    let floor = median(modules.iter().map(|module| module.noise_floor).collect());
    let ranks = || modules.iter().map(|module| module.rank);
    let ranks = (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0));
    let (title, text) = (format!("curve-{index}"), format!("curve-{index}-text"));
    let y = at(frame.y(floor));
    html! {
        figure {
            svg viewBox=(frame.view()) role="img" aria-labelledby=(title) aria-describedby=(text) {
                title id=(title) { "Singular values of " (kind) }
                desc id=(text) {
                    (modules.len()) " modules, ranks " (ranks.0) " to " (ranks.1) ", median noise floor "
                    (short(floor))
                }
                (frame.axes(&xs, &ys))
                @for (module, spectrum) in modules.iter().zip(&spectra) {
                    (line(&frame, module, spectrum))
                }
                @if floor > 0.0 && floor <= f64::from(largest) {
                    line.floor x1=(frame.left) x2=(frame.width - 12.0) y1=(y) y2=(y) {}
                    text.note.end x=(frame.width - 14.0) y=(at(frame.y(floor) - 5.0)) { "noise floor" }
                }
            }
            figcaption {
                strong { (kind) } " "
                @if ranks.0 == ranks.1 { "rank " (ranks.0) } @else { "ranks " (ranks.0) " to " (ranks.1) }
            }
        }
    }
}

fn line(frame: &Frame, module: &ModuleReport, spectrum: &[f32]) -> Markup {
    let point = |(i, &sigma): (usize, &f32)| ((i + 1) as f64, f64::from(sigma));
    let kept = module.singular_values.len().max(1);
    let head = frame.path(spectrum.iter().enumerate().take(kept).map(point));
    let tail = frame.path(spectrum.iter().enumerate().skip(kept - 1).map(point));
    let last = spectrum.get(kept - 1).copied().unwrap_or(0.0);
    html! {
        g {
            title {
                (module.name) ": rank " (module.rank) ", largest " (short(f64::from(spectrum[0])))
                ", noise floor " (short(module.noise_floor))
            }
            path.tail d=(tail) {}
            path.kept d=(head) {}
            circle.dot cx=(at(frame.x(kept as f64))) cy=(at(frame.y(f64::from(last)))) r="2.6" {}
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
