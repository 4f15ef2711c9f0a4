//! Energy against bytes for the whole model: what was chosen, and what twice the bytes would buy.

use super::plot::{Frame, at, ticks};
use crate::report::{CurvePoint, Report};
use crate::units::{bytes, percent};
use maud::{Markup, html};

pub fn section(report: &Report) -> Markup {
    let chosen: u64 = report.modules.iter().map(|module| module.bytes).fold(0, u64::saturating_add);
    let curve = &report.curve;
    if curve.len() < 2 {
        return html! {};
    }
    html! {
        section aria-labelledby="bytes" {
            h2 id="bytes" { "What the bytes buy" }
            p { (text(report, chosen)) }
            (figure(report, chosen))
            details {
                summary { "The curve as a table" }
                div.scroll tabindex="0" {
                    table {
                        thead { tr { th scope="col" { "bytes of factors" } th scope="col" { "kept" } } }
                        tbody {
                            @for point in curve {
                                tr data-bytes=(point.bytes) data-energy=(point.energy) {
                                    td { (bytes(point.bytes)) } td { (percent(point.energy)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn text(report: &Report, chosen: u64) -> Markup {
    if chosen == 0 {
        return html! { "The most that so many bytes of factors could keep, taken from all modules at once." };
    }
    let double = energy_at(&report.curve, chosen.saturating_mul(2));
    let end = report.curve.last().is_some_and(|last| chosen.saturating_mul(2) > last.bytes);
    html! {
        (bytes(chosen)) " of factors keep " (percent(report.total.energy)) ". "
        strong {
            "Twice the bytes would keep " @if end { "at least " }
            data id="double" value=(double) { (percent(double)) }
        }
        " if they were shared out over the modules by what they keep."
    }
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

fn figure(report: &Report, chosen: u64) -> Markup {
    let curve = &report.curve;
    let end = curve.last().map_or(1, |point| point.bytes);
    // Four times what was chosen shows enough of what more would bring.
    let most = if chosen > 0 { end.min(chosen.saturating_mul(4)).max(chosen) } else { end };
    let frame = Frame {
        width: 720.0,
        height: 300.0,
        left: 52.0,
        below: 28.0,
        most: (most as f64, 1.0),
        least_x: None,
    };
    #[allow(clippy::cast_sign_loss)] // ticks are sizes
    let xs: Vec<_> = ticks(most as f64, 5.0).into_iter().map(|x| (x, bytes(x as u64))).collect();
    let ys: Vec<_> = ticks(1.0, 4.0).into_iter().map(|y| (y, format!("{:.0} %", 100.0 * y))).collect();
    let shown = curve.iter().filter(|point| point.bytes <= most);
    let line = frame.path(shown.map(|point| (point.bytes as f64, point.energy)));
    let mark = |bytes: u64, energy: f64| (frame.x(bytes as f64), frame.y(energy));
    let (x, y) = mark(chosen, report.total.energy);
    let twice = chosen.saturating_mul(2);
    let double = energy_at(curve, twice);
    let (x2, y2) = mark(twice.min(most), double);
    html! {
        figure.wide {
            svg viewBox=(frame.view()) role="img" aria-labelledby="frontier-title" aria-describedby="frontier-text" {
                title id="frontier-title" { "Energy against bytes" }
                desc id="frontier-text" { (text(report, chosen)) }
                (frame.axes(&xs, &ys))
                path.frontier d=(line) {}
                @if chosen > 0 {
                    @if twice <= most {
                        circle.ring cx=(at(x2)) cy=(at(y2)) r="5" {}
                        text x=(at(x2 - 4.0)) y=(at(y2 + 28.0)) class="note mid" { "×2: " (percent(double)) }
                    }
                    line.drop x1=(at(x)) x2=(at(x)) y1=(at(y)) y2=(frame.height - frame.below) {}
                    circle.chosen cx=(at(x)) cy=(at(y)) r="6" {}
                    text.strong x=(at(x + 10.0)) y=(at(y + 18.0)) { (percent(report.total.energy)) }
                }
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
}
