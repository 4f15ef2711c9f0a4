//! The page of a plan: which rank, and what it was chosen from.

use super::shell::Page;
use super::{curves, frontier, left_out, maps, modules, who};
use crate::units::{bytes, count, percent};
use crate::{PlanReport, PlanRow, Report};
use maud::{Markup, html};

pub fn page(report: &Report, plan: &PlanReport) -> Page {
    let rank = plan.recommended.ranks[1];
    let rank = if plan.reached { format!("rank {rank}") } else { format!("rank ≥ {rank}") };
    Page {
        title: format!("{rank} · {}phlora plan", who::short(report.origin.as_ref())),
        head: headline(report, plan, &rank),
        main: html! {
            (rows("by-rank", "One rank for all", "rank", &plan.by_rank, plan, |row| row.ranks[1].to_string()))
            (rows("policies", "What each policy would choose", "goal", &plan.policies, plan, option))
            (frontier::section(report))
            (maps::plan(report))
            (curves::section(report))
            (left_out::section(report))
            (modules::section(report))
        },
        foot: html! { p { (super::extraction::footer(report)) } (who::of(report)) },
        version: report.phlora.clone(),
    }
}

fn headline(report: &Report, plan: &PlanReport, rank: &str) -> Markup {
    let row = &plan.recommended;
    html! {
        (who::models(report.origin.as_ref()))
        h1 { data id="rank" value=(row.ranks[1]) { (rank) } }
        @for (at, line) in plan.answer(option, "look further").iter().enumerate() {
            @if at == 0 { p.lead { (line) } } @else { p.more { (line) } }
        }
        ul.facts {
            li { "no adapter written: a plan for " (plan.format) " files" }
            li { (count(report.total.parameters_in)) " weights in " (report.modules.len()) " modules" }
            li { "looked at as far as rank " (plan.searched) }
        }
    }
}

fn rows(
    id: &str,
    title: &str,
    first: &str,
    rows: &[PlanRow],
    plan: &PlanReport,
    name: impl Fn(&PlanRow) -> String,
) -> Markup {
    let ranks = first != "rank";
    let short = rows.iter().any(|row| !row.known);
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            div.scroll tabindex="0" role="group" aria-labelledby=(id) {
                table.choices {
                    thead { tr {
                        th scope="col" { (first) } @if ranks { th scope="col" { "ranks" } } th scope="col" { "dtype" }
                        th scope="col" { "kept" } th scope="col" { "of the whole" } th scope="col" { "least of a module" }
                        th scope="col" { "bytes" }
                    } }
                    tbody {
                        @for row in rows {
                            tr class=[(*row == plan.recommended).then_some("best")] {
                                th scope="row" { (name(row)) }
                                @if ranks { td { (row.choice_text(format!("{} to {}", row.ranks[0], row.ranks[1]))) } }
                                td { (row.dtype) }
                                td data-v=(row.kept()) { (row.energy_text(percent(row.kept()))) }
                                td data-v=(row.whole_energy) { (row.energy_text(percent(row.whole_energy))) }
                                td { (percent(row.least_energy)) }
                                td data-v=(row.bytes) { (row.choice_text(bytes(row.bytes))) }
                            }
                        }
                    }
                }
            }
            @if short { p { "– and ≥: not known, or a bound from below, as the search ended at rank " (plan.searched) "." } }
        }
    }
}

/// How a row is asked for, in words.
fn option(row: &PlanRow) -> String {
    match (row.goal.as_str(), row.value) {
        ("rank", Some(value)) => format!("rank {value}"),
        ("total energy", Some(value)) => format!("a total energy of {}", percent(value)),
        ("energy", Some(value)) => format!("an energy of {}", percent(value)),
        #[allow(clippy::cast_sign_loss)] // a size
        ("budget", Some(value)) => format!("a budget of {}", bytes(value.max(0.0) as u64)),
        (goal, _) => format!("the {goal}"),
    }
}
