//! Singular values of every module, a plot per kind on one scale: the chosen rank and the noise floor marked.

use super::heat::layer;
use super::plot::{Frame, at, short};
use crate::{ModuleReport, Report};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Lines of all plots together, and of one plot at least.
const LINES: usize = 300;
const LEAST_LINES: usize = 6;

/// Points of a line.
const POINTS: f64 = 24.0;

/// Singular values below this share of the largest are at the bottom.
const DEPTH: f64 = 1e-3;

type Kinds<'r> = BTreeMap<&'r str, Vec<&'r ModuleReport>>;

pub fn section(report: &Report) -> Markup {
    let mut kinds = Kinds::new();
    for module in report.modules.iter().filter(|module| known(module) > 0) {
        kinds.entry(&module.kind).or_default().push(module);
    }
    let all = || kinds.values().flatten();
    let longest = all().map(|module| known(module)).max().unwrap_or(1).max(2);
    let largest = all().map(|module| f64::from(first(module))).fold(0.0, f64::max);
    if largest <= 0.0 {
        return html! {};
    }
    let ends = all().filter_map(|module| module.singular_values.last()).map(|&sigma| f64::from(sigma));
    let floors = all().map(|module| 0.8 * module.noise_floor).filter(|&floor| floor > 0.0);
    let least = ends.chain(floors).fold(largest, f64::min);
    let scale = ([1.0, longest as f64], [least.clamp(DEPTH * largest, largest / 2.0), largest]);
    let open = all().filter(|module| !module.converged).count();
    html! {
        section aria-labelledby="curves" {
            h2 id="curves" { "What the spectra look like" }
            p {
                "Singular values σ of each module by the number of the direction, all plots on one scale. The band is the "
                (if report.plan.is_some() { "rank that was looked at" } else { "chosen rank" }) "; what is hatched lies beyond it, as far as it is known: bounds from below. Below the dashed "
                "line, the median noise floor, nothing can be told from noise."
                @if open > 0 { " " (open) " modules did not converge, so that all of theirs are such bounds." }
            }
            p.scale.depth { span { "first layer" } i {} span { "last layer" } }
            div.plots {
                @for (i, (kind, modules)) in kinds.iter().enumerate() {
                    (chart(i, kind, modules, scale, (LINES / kinds.len()).max(LEAST_LINES)))
                }
            }
        }
    }
}

fn known(module: &ModuleReport) -> usize {
    module.singular_values.len() + module.further_singular_values.len()
}

fn first(module: &ModuleReport) -> f32 {
    module.singular_values.first().or(module.further_singular_values.first()).copied().unwrap_or(0.0)
}

fn chart(
    index: usize,
    kind: &str,
    modules: &[&ModuleReport],
    (x, y): ([f64; 2], [f64; 2]),
    lines: usize,
) -> Markup {
    let kind = if kind.is_empty() { "module" } else { kind };
    let frame = Frame {
        width: 340.0,
        height: 236.0,
        left: 46.0,
        right: 46.0,
        above: 38.0,
        below: 44.0,
        x,
        y,
        log: true,
    };
    let powers = if x[1] < 40.0 { 1 } else { 2 };
    let xs: Vec<_> = (0..=20)
        .step_by(powers)
        .map(|power| f64::from(1_u32 << power))
        .filter(|&tick| tick <= x[1])
        .map(|tick| (tick, format!("{tick}")))
        .collect();
    let ys: Vec<_> = (-40..40)
        .flat_map(|power| [1.0, 3.0].map(|step| step * 10.0_f64.powi(power)))
        .filter(|tick| (y[0]..=y[1]).contains(tick))
        .map(|tick| (tick, short(tick)))
        .collect();
    let floor = median(modules.iter().map(|module| module.noise_floor).collect());
    let ranks = || modules.iter().map(|module| module.rank);
    let (least, most) = (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0));
    let chosen = if least == most { format!("rank {most}") } else { format!("ranks {least} to {most}") };
    let (from, to) = (frame.x(least.max(1) as f64), frame.x(most.max(1) as f64));
    let (title, text) = (format!("curve-{index}"), format!("curve-{index}-text"));
    let number = |module: &ModuleReport| layer(&module.layer).number.unwrap_or(0);
    let mut order = modules.to_vec();
    order.sort_by_key(|module| number(module));
    let step = order.len().div_ceil(lines).max(1);
    let drawn: Vec<_> = order.iter().step_by(step).collect();
    let deepest = drawn.len().saturating_sub(1).max(1) as f64;
    html! {
        figure {
            svg viewBox=(frame.view()) role="img" aria-labelledby=(title) aria-describedby=(text) {
                title id=(title) { "Singular values of " (kind) }
                desc id=(text) {
                    (modules.len()) " modules, " (chosen) ", median noise floor " (short(floor))
                }
                @if most as f64 * 1.02 < x[1] { (frame.unknown(most.max(1) as f64)) }
                (frame.axes(&xs, &ys, ["number of the direction", "σ"]))
                rect.chosen-rank x=(at(from - 1.0)) width=(at(to - from + 2.0)) y=(frame.above)
                    height=(at(frame.floor() - frame.above)) {}
                text class=(anchor(from, to, &frame)) x=(at(f64::midpoint(from, to))) y="32" { (chosen) }
                @for (at, module) in drawn.iter().enumerate() { (line(&frame, module, at as f64 / deepest)) }
                @if (y[0]..=y[1]).contains(&floor) {
                    line.floor x1=(frame.left) x2=(frame.width - frame.right) y1=(at(frame.y(floor)))
                        y2=(at(frame.y(floor))) {}
                    text.note x=(frame.width - frame.right + 4.0) y=(at(frame.y(floor))) { "noise" }
                    text.note x=(frame.width - frame.right + 4.0) y=(at(frame.y(floor) + 12.0)) { (short(floor)) }
                }
            }
            figcaption {
                strong { (kind) } " " (chosen)
                @if step > 1 { ", " (drawn.len()) " of " (modules.len()) " modules drawn" }
            }
        }
    }
}

/// Where a label above the frame is anchored, so that it stays inside of it.
fn anchor(from: f64, to: f64, frame: &Frame) -> &'static str {
    let middle = f64::midpoint(from, to);
    if middle > frame.width - 90.0 {
        "note end"
    } else if middle < 80.0 {
        "note"
    } else {
        "note mid"
    }
}

fn line(frame: &Frame, module: &ModuleReport, depth: f64) -> Markup {
    let spectrum = module.spectrum();
    let mut points = Vec::new();
    let ratio = (spectrum.len().max(2) as f64).powf(1.0 / POINTS);
    let mut next = 1.0;
    for (at, &sigma) in spectrum.iter().enumerate() {
        if (at + 1) as f64 >= next || at + 1 == spectrum.len() {
            points.push(((at + 1) as f64, f64::from(sigma)));
            next = ((at + 1) as f64 * ratio).max(at as f64 + 2.0);
        }
    }
    html! {
        path.spectrum style=(format!("--d:{:.0}%", 100.0 * depth)) d=(frame.path(points.into_iter())) {
            title { (module.name) }
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
