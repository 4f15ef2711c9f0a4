//! `phlora verify`.

use crate::args::{VerifyArgs, channel_scales};
use crate::failure::{CHECK_FAILED, Failure, complain};
use crate::interrupt;
use crate::print::{self, percent};
use crate::progress::with_bar;
use crate::say;
use crate::summary::{self, Line};
use phlora::{Adapter, Model, Verification, VerifiedTensor, available_threads, verify};
use std::process::ExitCode;

pub fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let monitor = interrupt::monitor();
    let (base, tuned) = (Model::open(&args.base)?, Model::open(&args.tuned)?);
    let adapter = Adapter::open(&args.adapter)?;
    let channels = channel_scales(args.channel_scale.as_deref())?;
    let threads = args.threads.unwrap_or_else(available_threads);
    let found = with_bar(&monitor, "verifying", args.json, || {
        verify(&base, &tuned, &adapter, &channels, threads, &monitor)
    })?;
    found.notes.iter().for_each(|note| complain(note));
    if args.json {
        print::json(&print::value(serde_json::to_string(&found)))?;
    } else {
        say::summary(&text(&found, args.modules))?;
    }
    let asked = [
        (args.min_energy, found.energy, "‖Δ‖² over its modules"),
        (args.min_whole, found.whole_energy, "the whole difference"),
    ];
    let mut code = ExitCode::SUCCESS;
    for (least, kept, of) in asked {
        // Factors that overflow give an energy that is no number.
        if let Some(least) = least.filter(|&least| kept < least || kept.is_nan()) {
            complain(&format!(
                "the adapter keeps {:.4} % of {of}, less than {} %",
                100.0 * kept,
                100.0 * least
            ));
            code = ExitCode::from(CHECK_FAILED);
        }
    }
    Ok(code)
}

fn text(found: &Verification, every: bool) -> String {
    let lines: Vec<_> = found
        .modules
        .iter()
        .map(|m| Line {
            name: &m.name,
            shape: m.shape,
            rank: m.rank,
            energy: m.energy,
            sum_squares: m.delta_norm.powi(2),
            reads: None,
        })
        .collect();
    let kept = format!(
        "\n{} of the whole difference kept, measured from the written factors\n\
         {} of ‖Δ‖² kept over {} modules\n",
        percent(found.whole_energy),
        percent(found.energy),
        lines.len()
    );
    let worse = if found.whole_energy < 0.0 {
        "below 0: with the adapter the base is further from the tuned model. Are base and tuned exchanged, or is it an adapter of \
         another pair?\n"
    } else {
        ""
    };
    let inside: f64 = found.full.iter().map(|tensor| tensor.delta_norm.powi(2)).sum();
    let all = found.sum_squares + inside + found.outside_sum_squares;
    let outside = match found.outside {
        0 => String::new(),
        tensors => format!(
            "{} of all ‖Δ‖² is in {tensors} tensors that the adapter does not change\n",
            percent(found.outside_sum_squares / all)
        ),
    };
    let full = match found.full.len() {
        0 => String::new(),
        tensors => {
            let sum =
                |part: fn(&VerifiedTensor) -> f64| found.full.iter().map(|t| part(t).powi(2)).sum::<f64>();
            let (delta, rest) = (sum(|tensor| tensor.delta_norm), sum(|tensor| tensor.residual_norm));
            let kept = if delta > 0.0 { 1.0 - rest / delta } else { f64::from(u8::from(rest == 0.0)) };
            format!("{} of ‖Δ‖² kept in {tensors} tensors beside the factors\n", percent(kept))
        }
    };
    [summary::modules(&lines, every, 0), kept, worse.to_owned(), full, outside].concat()
}
