//! The tables of modules, one row each or, where there are many, one row per kind.

use crate::print::percent;
use crate::table::Table;
use phlora::{LeftOut, Report, module_of, suffix_of};
use std::collections::{BTreeMap, BTreeSet};

/// More modules than this are shown by kind.
const MANY: usize = 40;

/// An output head that holds more than this share of all that differs is much.
const LARGE: f64 = 0.1;

/// What a table shows of a module, extracted or verified.
#[derive(Debug)]
pub struct Line<'r> {
    pub name: &'r str,
    pub shape: [usize; 2],
    pub rank: usize,
    pub energy: f64,
    /// ‖Δ‖².
    pub sum_squares: f64,
    /// Reads, where they were counted.
    pub reads: Option<u32>,
}

/// The table of modules.
pub fn modules(lines: &[Line<'_>], every: bool, asked_rank: usize) -> String {
    if every || lines.len() <= MANY { by_module(lines, asked_rank) } else { by_kind(lines) }
}

fn by_module(lines: &[Line<'_>], asked_rank: usize) -> String {
    let mut titles = vec!["module", "out × in", "rank", "energy", "of ‖Δ‖²", "reads"];
    if lines.iter().all(|line| line.reads.is_none()) {
        titles.pop();
    }
    let mut table = Table::new(&titles);
    let all: f64 = lines.iter().map(|line| line.sum_squares).sum();
    for line in lines {
        let rank =
            if line.rank < asked_rank { format!("capped at {}", line.rank) } else { line.rank.to_string() };
        let mut cells =
            vec![line.name.to_owned(), shape(line), rank, percent(line.energy), share(line.sum_squares, all)];
        cells.extend(line.reads.map(|reads| reads.to_string()));
        table.row(cells);
    }
    table.render()
}

fn by_kind(lines: &[Line<'_>]) -> String {
    let mut table =
        Table::new(&["modules", "number", "out × in", "rank", "energy: min", "mean", "max", "of ‖Δ‖²"]);
    let all: f64 = lines.iter().map(|line| line.sum_squares).sum();
    let mut kinds = BTreeMap::<_, Vec<&Line<'_>>>::new();
    for line in lines {
        kinds.entry((kind(line.name), line.shape, line.rank)).or_default().push(line);
    }
    for ((kind, _, rank), lines) in kinds {
        let energies = || lines.iter().map(|line| line.energy);
        table.row(vec![
            kind.to_owned(),
            lines.len().to_string(),
            shape(lines[0]),
            rank.to_string(),
            percent(energies().fold(f64::INFINITY, f64::min)),
            percent(energies().sum::<f64>() / lines.len() as f64),
            percent(energies().fold(f64::NEG_INFINITY, f64::max)),
            share(lines.iter().map(|line| line.sum_squares).sum(), all),
        ]);
    }
    table.render()
}

/// The last part of a module's path; of an expert, that of the stack.
fn kind(name: &str) -> &str {
    let last = suffix_of(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) { suffix_of(module_of(name)) } else { last }
}

/// ‖Δ‖² over both models, as far as it is known.
fn whole_squares(report: &Report) -> f64 {
    let full: f64 = report.full.iter().map(|tensor| tensor.delta_norm.powi(2)).sum();
    let left_out: f64 = report.left_out.iter().map(LeftOut::sum_squares).sum();
    report.total.delta_norm.powi(2) + full + left_out
}

/// What is stored beside the factors, by kind, with its share of ‖Δ‖² over both models; empty where nothing is.
pub fn full(report: &Report) -> String {
    let mut kinds = BTreeMap::<&str, (usize, usize, usize, f64, u64)>::new();
    for tensor in &report.full {
        let (tensors, rows, new, squares, bytes) = kinds.entry(&tensor.kind).or_default();
        *tensors += 1;
        *rows = rows.saturating_add(tensor.rows.unwrap_or(0));
        *new = new.saturating_add(tensor.new_rows);
        *squares += tensor.delta_norm.powi(2);
        *bytes = bytes.saturating_add(tensor.bytes);
    }
    let mut table = Table::new(&["beside factors", "tensors", "of all ‖Δ‖²", "bytes"]);
    for (kind, (tensors, rows, new, squares, bytes)) in kinds {
        let what = match (rows, new) {
            (0, _) => kind.to_owned(),
            (rows, 0) => format!("{kind}: {rows} rows"),
            (rows, new) => format!("{kind}: {rows} rows, {new} of them new"),
        };
        table.row(vec![
            what,
            tensors.to_string(),
            share(squares, whole_squares(report)),
            crate::print::bytes(bytes),
        ]);
    }
    if table.is_empty() { String::new() } else { table.render() }
}

/// What was left out, by group, with its share of ‖Δ‖² over both models; empty where nothing was.
pub fn left_out(report: &Report) -> String {
    let tensors = &report.left_out;
    let mut groups = BTreeMap::<&str, (usize, f64, usize)>::new();
    for tensor in tensors {
        let group = groups.entry(tensor.group()).or_default();
        group.0 += 1;
        group.1 += tensor.sum_squares();
        group.2 += usize::from(tensor.delta_norm.is_none());
    }
    let all = whole_squares(report);
    let mut table = Table::new(&["left out", "tensors", "of all ‖Δ‖²"]);
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1));
    for (group, (count, squares, unknown)) in groups {
        let known = if unknown == count { "not comparable".to_owned() } else { share(squares, all) };
        table.row(vec![group.to_owned(), count.to_string(), known]);
    }
    let hint = if tensors.iter().any(|tensor| tensor.is_whole_layer() && tensor.sum_squares() > 0.0) {
        "--also layers stores the layers that PEFT takes whole\n"
    } else {
        ""
    };
    if table.is_empty() { String::new() } else { table.render() + hint + &head(report, all) }
}

/// What an output head that is left out holds, and how it gets factors, where that is much.
fn head(report: &Report, all: f64) -> String {
    let heads = report.left_out.iter().filter(|tensor| tensor.group() == "output head");
    let Some(head) = heads.max_by(|a, b| a.sum_squares().total_cmp(&b.sum_squares())) else {
        return String::new();
    };
    if head.sum_squares() < LARGE * all {
        return String::new();
    }
    let (share, module) = (share(head.sum_squares(), all), module_of(&head.name));
    // --include replaces the choice, so that what has factors has to match as well.
    let others: BTreeSet<_> = report.modules.iter().map(|module| list_of(&module.name)).collect();
    let others = others.iter().map(|name| format!(" --include {name}")).collect::<Vec<_>>().concat();
    format!(
        "{share} is in the output head, which --include {module}{others} gives factors
"
    )
}

/// What the list of layers that `module` is in is called; of a module outside of one its own name.
fn list_of(module: &str) -> &str {
    let layer =
        module.match_indices('.').find(|(at, _)| module[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    suffix_of(layer.map_or(module, |(at, _)| &module[..at]))
}

fn shape(line: &Line<'_>) -> String {
    format!("{} × {}", line.shape[0], line.shape[1])
}

fn share(part: f64, all: f64) -> String {
    if all > 0.0 { percent(part / all) } else { percent(0.0) }
}
