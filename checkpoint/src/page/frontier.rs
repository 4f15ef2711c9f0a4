//! Energy against bytes for the whole model: what was chosen, what twice the bytes would buy, where the search ended.

use super::plot::{Frame, at, ticks};
use crate::report::{CurvePoint, Report};
use crate::units::{bytes, percent};
use maud::{Markup, html};

/// Rows of the table.
const ROWS: usize = 12;

/// More than this is all.
const ALL: f64 = 0.999_9;

pub fn section(report: &Report) -> Markup {
    // In a plan nothing is chosen, whatever rank was looked at.
    let chosen: u64 = report.modules.iter().map(|module| module.bytes).fold(0, u64::saturating_add);
    let curve = &report.curve;
    if curve.len() < 2 {
        return html! {};
    }
    html! {
        section aria-labelledby="bytes" {
            h2 id="bytes" { "What the bytes buy" }
            p { (text(report, chosen)) }
            figure {
                div.wide { (figure(report, chosen, "wide", 720.0, 300.0)) }
                div.narrow { (figure(report, chosen, "narrow", 360.0, 280.0)) }
            }
            table.sizes {
                caption { "Bytes of factors alone, divided among the modules as a budget divides them" }
                thead { tr { th scope="col" { "bytes of factors" } th scope="col" { "kept of the modules" } } }
                tbody {
                    @for size in sizes(curve) {
                        @let energy = energy_at(curve, size);
                        tr data-bytes=(size) data-energy=(energy) {
                            td { (bytes(size)) } td { (percent(energy)) }
                        }
                    }
                }
            }
        }
    }
}

/// Round sizes up to the end of the curve, one of which is the end.
fn sizes(curve: &[CurvePoint]) -> Vec<u64> {
    let end = curve.last().map_or(0, |point| point.bytes);
    let steps: Vec<_> = (0..19)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10.0_f64.powi(power)))
        .filter(|&size| size < 0.97 * end as f64)
        .collect();
    let first = steps.len().saturating_sub(ROWS - 1);
    #[allow(clippy::cast_sign_loss)] // sizes
    let mut sizes: Vec<_> = steps[first..].iter().map(|&size| size as u64).collect();
    sizes.push(end);
    sizes
}

fn text(report: &Report, chosen: u64) -> Markup {
    let end = report.curve.last();
    let ended = end.filter(|end| end.energy < ALL).map_or(String::new(), |end| {
        let shown = if end.bytes as f64 <= most(&report.curve, chosen) {
            ": what is hatched was not looked at"
        } else {
            ", beyond what is shown here"
        };
        format!(" The search ended at {}, where {} is kept{shown}.", bytes(end.bytes), percent(end.energy))
    });
    if chosen == 0 {
        return html! {
            "What so many bytes of factors keep, divided among all modules as a budget divides them." (ended) (further(report))
        };
    }
    let double = energy_at(&report.curve, chosen.saturating_mul(2));
    let beyond = end.is_some_and(|end| chosen.saturating_mul(2) > end.bytes && end.energy < ALL);
    html! {
        (bytes(chosen)) " of factors keep " (percent(report.total.energy)) ". "
        strong {
            "Twice the bytes would keep " @if beyond { "at least " }
            data id="double" value=(double) { (percent(double)) }
        }
        " if a budget divided them among the modules." (ended)
    }
}

/// Says of a plan that its curve goes on behind the rank that was asked for.
fn further(report: &Report) -> String {
    match &report.plan {
        Some(plan) if report.modules.iter().any(|module| !module.further_singular_values.is_empty()) => {
            format!(
                " Directions behind rank {} count as well, as far as the reads for it showed them: of these it keeps at least so \
             much.",
                plan.searched
            )
        }
        _ => String::new(),
    }
}

/// Whether the search ended before all was kept.
fn is_open(curve: &[CurvePoint]) -> bool {
    curve.last().is_some_and(|end| end.energy < ALL)
}

/// Where the figure ends: four times what was chosen shows enough of what more would bring; beyond the end of the curve is room
/// for what is not known.
fn most(curve: &[CurvePoint], chosen: u64) -> f64 {
    let end = curve.last().map_or(1, |point| point.bytes);
    let most = if chosen > 0 { end.min(chosen.saturating_mul(4)).max(chosen.saturating_mul(2)) } else { end };
    if is_open(curve) && most >= end { end.max(most) as f64 * 1.15 } else { most as f64 }
}

/// The curve between its points.
fn energy_at(curve: &[CurvePoint], bytes: u64) -> f64 {
    let after = curve.partition_point(|point| point.bytes < bytes);
    match (curve.get(after.wrapping_sub(1)), curve.get(after)) {
        (Some(a), Some(b)) => {
            // In a report that somebody else made the points may be in any order.
            let share = bytes.saturating_sub(a.bytes) as f64 / b.bytes.saturating_sub(a.bytes).max(1) as f64;
            a.energy + share * (b.energy - a.energy)
        }
        (Some(end), None) | (None, Some(end)) => end.energy,
        (None, None) => 0.0,
    }
}

fn figure(report: &Report, chosen: u64, id: &str, width: f64, height: f64) -> Markup {
    let curve = &report.curve;
    let end = curve.last().map_or(1, |point| point.bytes);
    let open = is_open(curve);
    let most = most(curve, chosen);
    let frame = Frame {
        width,
        height,
        left: 56.0,
        right: 30.0,
        above: 28.0,
        below: 46.0,
        x: [0.0, most],
        y: [0.0, 1.0],
        log: false,
    };
    #[allow(clippy::cast_sign_loss)] // ticks are sizes
    let xs: Vec<_> = ticks(most, width / 150.0).into_iter().map(|x| (x, bytes(x as u64))).collect();
    let ys: Vec<_> = ticks(1.0, 4.0).into_iter().map(|y| (y, format!("{:.0} %", 100.0 * y))).collect();
    let shown = curve.iter().filter(|point| point.bytes as f64 <= most);
    let line = frame.path(shown.map(|point| (point.bytes as f64, point.energy)));
    let (x, y) = (frame.x(chosen as f64), frame.y(report.total.energy));
    let double = energy_at(curve, chosen.saturating_mul(2));
    let (x2, y2) = (frame.x(2.0 * chosen as f64), frame.y(double));
    let (title, desc) = (format!("frontier-{id}"), format!("frontier-{id}-text"));
    html! {
        svg viewBox=(frame.view()) role="img" aria-labelledby=(title) aria-describedby=(desc) {
            title id=(title) { "Energy against bytes" }
            desc id=(desc) {
                @if chosen > 0 { (bytes(chosen)) " keep " (percent(report.total.energy)) "; " }
                "the curve ends at " (bytes(end)) " with " (percent(energy_at(curve, end)))
            }
            @if open && end as f64 <= most {
                (frame.unknown(end as f64))
                line.drop x1=(at(frame.x(end as f64))) x2=(at(frame.x(end as f64))) y1=(frame.above) y2=(frame.floor()) {}
                text.note.end x=(at(frame.x(end as f64) - 5.0)) y=(frame.floor() - 8.0) { "the search ended here" }
            }
            (frame.axes(&xs, &ys, ["bytes of factors", "kept of the modules' ‖Δ‖²"]))
            path.frontier d=(line) {}
            @if chosen > 0 {
                @if 2.0 * chosen as f64 <= most {
                    circle.ring cx=(at(x2)) cy=(at(y2)) r="5" {}
                    text x=(at(x2)) y=(at(y2 + 24.0)) class="note mid" { "×2: " (percent(double)) }
                }
                line.drop x1=(at(x)) x2=(at(x)) y1=(at(y)) y2=(frame.floor()) {}
                circle.chosen cx=(at(x)) cy=(at(y)) r="6" {}
                text.strong x=(at(x + 10.0)) y=(at(y + 20.0)) { (percent(report.total.energy)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_read_between_its_points() {
        let curve = [(0, 0.0), (10, 0.5), (20, 0.6)].map(|(bytes, energy)| CurvePoint { bytes, energy });
        for (bytes, energy) in [(0, 0.0), (5, 0.25), (10, 0.5), (15, 0.55), (20, 0.6), (99, 0.6)] {
            assert!((energy_at(&curve, bytes) - energy).abs() < 1e-12, "{bytes}");
        }
    }

    #[test]
    fn sizes_are_round_and_end_with_the_curve() {
        let curve = |bytes| [CurvePoint { bytes: 0, energy: 0.0 }, CurvePoint { bytes, energy: 0.9 }];
        assert_eq!(sizes(&curve(30)), [1, 2, 5, 10, 20, 30]);
        let many = sizes(&curve(123_456_789));
        assert!(many.len() == 12 && many[10] == 100_000_000 && many[11] == 123_456_789, "{many:?}");
    }
}
