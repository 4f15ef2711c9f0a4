//! The page of an extraction: how much of the whole difference is kept, and where the rest is.

use super::bar::{Band, bar};
use super::shell::Page;
use super::{curves, frontier, left_out, maps, modules, who};
use crate::units::{bytes, count, percent};
use crate::{LeftOut, PolicyReport, Report};
use maud::{Markup, html};

pub fn page(report: &Report) -> Page {
    Page {
        title: format!("{} kept · {}phlora", percent(whole(report)), who::short(report.origin.as_ref())),
        head: headline(report),
        main: html! {
            (maps::extraction(report))
            (curves::section(report))
            (frontier::section(report))
            (left_out::section(report))
            (modules::section(report))
        },
        foot: html! { p { (footer(report)) } (who::of(report)) },
        version: report.phlora.clone(),
    }
}

/// Kept share of the whole difference; older reports know that of the modules alone.
fn whole(report: &Report) -> f64 {
    report.total.whole_energy.unwrap_or(report.total.energy)
}

fn headline(report: &Report) -> Markup {
    let total = &report.total;
    let ranks = || report.modules.iter().map(|module| module.rank);
    let (least, most) = (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0));
    html! {
        (who::models(report.origin.as_ref()))
        h1 { data id="whole_energy" value=(whole(report)) { (percent(whole(report))) } }
        p.lead {
            "of the whole difference is kept, "
            data id="energy" value=(total.energy) { (percent(total.energy)) }
            " of that in the " (report.modules.len()) " modules with factors"
        }
        (bar(&bands(report)))
        ul.facts {
            li { data id="bytes_out" value=(report.bytes_out) { (bytes(report.bytes_out)) } " adapter" }
            li { @if least == most { "rank " (most) } @else { "ranks " (least) " to " (most) } }
            li { (count(total.parameters_in)) " weights, " (count(total.parameters_out)) " in the factors" }
            @if let Some(policy) = &report.policy { li { "chosen by " (goal(policy)) } }
        }
    }
}

/// Where all of the difference goes.
fn bands(report: &Report) -> Vec<Band> {
    let (mut kept, mut rank, mut rounding) = (0.0, 0.0, 0.0);
    for module in &report.modules {
        let squares = module.delta_norm.powi(2);
        kept += (module.energy - module.rounding_loss) * squares;
        rank += (1.0 - module.energy) * squares;
        rounding += module.rounding_loss * squares;
    }
    let full: f64 = report.full.iter().map(|tensor| tensor.delta_norm.powi(2)).sum();
    let outside: f64 = report.left_out.iter().map(LeftOut::sum_squares).sum();
    let all = kept + rank + rounding + full + outside;
    let share = |squares: f64| if all > 0.0 { squares / all } else { 0.0 };
    vec![
        Band::new("kept", "kept in factors", share(kept)),
        Band::new("beside", "kept beside them", share(full)),
        Band::new("rank", "lost to rank", share(rank)),
        Band::new("rounding", "lost to rounding", share(rounding)),
        Band::new("left", "left out", share(outside)),
    ]
}

/// What the ranks were chosen by.
fn goal(policy: &PolicyReport) -> String {
    #[allow(clippy::cast_sign_loss)] // a size
    let text = match (policy.goal.as_str(), policy.value) {
        ("energy", Some(share)) => format!("an energy of {} in each module", percent(share)),
        ("budget", Some(size)) => format!("a budget of {}", bytes(size.max(0.0) as u64)),
        ("noise floor", _) => "the noise floor of each module".to_owned(),
        _ => "one rank for all".to_owned(),
    };
    if policy.multiple > 1 { format!("{text}, in multiples of {}", policy.multiple) } else { text }
}

/// What the words mean.
pub fn footer(report: &Report) -> String {
    let weighed = report.modules.iter().filter(|module| module.weighed).count();
    let weighed = match weighed {
        0 => String::new(),
        count => {
            format!(" In {count} modules Δ stands for Δ·diag(s), s being the scales of their input channels.")
        }
    };
    format!(
        "Energy is Σσ² of the kept singular values over ‖Δ‖², Δ = tuned − base.{weighed} Report version {}.",
        report.version
    )
}
