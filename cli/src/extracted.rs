//! What is said of adapters that were extracted.

use crate::advice;
use crate::args::ExtractArgs;
use crate::failure::{Failure, complain};
use crate::print::{self, bytes, count, percent, seconds};
use crate::say;
use crate::spark;
use crate::summary::{self, Line};
use phlora::{ModuleReport, PolicyReport, Report, Saved};
use serde_json::{Value, json};
use std::path::Path;

/// Names at most this many modules that did not converge.
const NAMED: usize = 5;

/// The format of a report of the compact form, whose codes are meant to be coarse: its energies are those after them.
const COMPACT: &str = "compact";

/// Share of ‖Δ‖² that rounding may take in silence: half of what the default tolerance leaves.
const COARSE: f64 = 5e-4;

/// How adapters are spoken of.
pub struct Said<'a> {
    /// The place of all, where it is not that of the file.
    pub shown: Option<String>,
    /// The fine-tune, where there are others.
    pub of: Option<&'a Path>,
    /// Whether something was said before.
    pub gap: bool,
}

/// Says what was written.
///
/// # Errors
/// When standard output cannot be written.
pub fn tell(saved: &[Saved], args: &ExtractArgs, said: &Said<'_>) -> Result<(), Failure> {
    let of = said.of.map_or(String::new(), |tuned| format!("{}: ", tuned.display()));
    for (i, Saved { path, report, .. }) in saved.iter().enumerate() {
        let notes = report.notes.iter().map(advice::note);
        warnings(report).into_iter().chain(notes).for_each(|note| complain(&format!("{of}{note}")));
        let shown = said.shown.clone().unwrap_or_else(|| path.display().to_string());
        if !args.saved.json {
            let gap = if i > 0 || said.gap { "\n" } else { "" };
            say::summary(&[gap, &text(report, args, &shown)].concat())?;
        }
    }
    Ok(())
}

/// What was written: the report alone where that is what standard output was named for.
pub fn as_json(saved: &[Saved], listed: bool) -> Value {
    let report = |saved: &Saved| print::value(serde_json::to_string(&saved.report));
    match saved {
        [only] if !listed => report(only),
        all => {
            let one = |saved: &Saved| json!({"path": saved.path, "report": report(saved)});
            json!({"adapters": all.iter().map(one).collect::<Vec<_>>()})
        }
    }
}

/// Names the modules whose factors may be worse than they could be, and what is lost that an option would keep.
fn warnings(report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    for tensor in report.left_out.iter().filter(|tensor| tensor.reason.contains(" rows in base, ")) {
        found.push(format!(
            "{}: {}; --also new-tokens stores the rows that are new, --also tokens all that changed",
            tensor.name, tensor.reason
        ));
    }

    let mut name_all = |what: &str, concerned: &dyn Fn(&ModuleReport) -> bool| {
        let names: Vec<_> = report.modules.iter().filter(|m| concerned(m)).map(|m| m.name.as_str()).collect();
        if !names.is_empty() {
            let shown = names[..names.len().min(NAMED)].join(", ");
            let more = if names.len() > NAMED {
                format!(" and {} more", names.len() - NAMED)
            } else {
                String::new()
            };
            found.push(format!("{what}: {shown}{more}"));
        }
    };
    name_all(
        "not converged, the energy could be a little higher with more reads or scratch",
        &|module: &ModuleReport| !module.converged,
    );
    match report.dtype.as_str() {
        "f32" | "f16" | "bf16" => name_all(
            "the format of the factors is too coarse, so that they keep less than the energy says; \
             see verify, --dtype bf16 or f32",
            &|module: &ModuleReport| module.rounding_loss > COARSE,
        ),
        // The energies that are shown are those after it.
        COMPACT => {}
        // Few bits are chosen for their size: what they take from the energies is said once.
        dtype => {
            let all: f64 = report.modules.iter().map(|m| m.delta_norm.powi(2)).sum();
            let lost: f64 = report.modules.iter().map(|m| m.rounding_loss * m.delta_norm.powi(2)).sum();
            if lost > COARSE * all {
                let lost = percent(lost / all);
                found.push(format!(
                    "energies are those before rounding: {dtype} takes {lost} of ‖Δ‖² from them"
                ));
            }
        }
    }
    found
}

fn text(report: &Report, args: &ExtractArgs, shown: &str) -> String {
    let coded = |module: &ModuleReport| if report.dtype == COMPACT { module.rounding_loss } else { 0.0 };
    let lines: Vec<_> = report
        .modules
        .iter()
        .map(|m| Line {
            name: &m.name,
            shape: m.shape,
            rank: m.rank,
            energy: m.energy - coded(m),
            sum_squares: m.delta_norm.powi(2),
            reads: Some(m.reads),
        })
        .collect();
    let total = &report.total;
    let lost: f64 = report.modules.iter().map(|module| coded(module) * module.delta_norm.powi(2)).sum();
    let energy = total.energy - lost / total.delta_norm.powi(2);
    let kept = format!(
        "\n{} of the whole difference kept\n{} of ‖Δ‖² kept over {} modules: {} weights in, {} out\n",
        percent(total.whole_energy.unwrap_or(energy)),
        percent(energy),
        lines.len(),
        count(total.parameters_in),
        count(total.parameters_out)
    );
    let weighed = report.modules.iter().filter(|module| module.weighed).count();
    let weighed = if weighed > 0 {
        format!("Δ stands for Δ·diag(s) in {weighed} modules, s being the scales of their input channels\n")
    } else {
        String::new()
    };
    let parts = match (total.tuning_norm, total.repair_norm) {
        (Some(tuning), Some(repair)) => {
            let share = |norm: f64| percent(norm * norm / (tuning * tuning + repair * repair));
            format!(
                "{} of ‖Δ‖² is fine-tuning, {} repair of the deployed base\n",
                share(tuning),
                share(repair)
            )
        }
        _ => String::new(),
    };
    let rank = lines.iter().map(|line| line.rank).max().unwrap_or(0);
    let policy = report.policy.as_ref();
    // Only a rank that was given for all can be above a module's narrower side.
    let asked = policy.filter(|policy| policy.goal == "rank").and_then(|policy| policy.max_rank).unwrap_or(0);
    let capped = lines.iter().filter(|line| line.rank < asked).count();
    let capped = match (capped, policy) {
        (0, Some(policy)) if policy.goal != "rank" => {
            let least = lines.iter().map(|line| line.rank).min().unwrap_or(0);
            let multiple = policy.multiple;
            let form = if multiple > 1 { format!(", in multiples of {multiple}") } else { String::new() };
            format!("ranks from {least} to {rank}{form}, chosen by {}\n", goal(policy))
        }
        (0, _) => String::new(),
        _ => format!(
            "rank {asked} is above the narrower side of {capped} modules, which are capped there; \
             the adapter has rank {rank}\n",
        ),
    };
    let cost = format!(
        "\nread {} in {}, wrote {} to {}\n",
        bytes(report.bytes_in),
        seconds(report.seconds),
        bytes(report.bytes_out),
        shown
    );
    let modules = summary::modules(&lines, args.saved.modules, asked);
    let spectra = ["\n", &spark::by_kind(&report.modules)].concat();
    let full = summary::full(report);
    let left_out = summary::left_out(report);
    let gap = |text: &str| if text.is_empty() { "" } else { "\n" };
    let tables = [gap(&full), &full, gap(&left_out), &left_out].concat();
    [modules.as_str(), &spectra, &kept, &weighed, &parts, &capped, &tables, &cost].concat()
}

/// What the ranks were chosen by.
fn goal(policy: &PolicyReport) -> String {
    match (policy.goal.as_str(), policy.value) {
        ("energy", Some(share)) => format!("an energy of {} in each module", percent(share)),
        ("total energy", Some(share)) => format!("an energy of {} over all modules", percent(share)),
        #[allow(clippy::cast_sign_loss)] // a size
        ("budget", Some(size)) => format!("a budget of {}", bytes(size.max(0.0) as u64)),
        ("noise floor", _) => "the noise floor of each module".to_owned(),
        (goal, _) => goal.to_owned(),
    }
}
