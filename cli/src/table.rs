//! Plain text tables that fit the terminal: the first column gives way, in its middle.

use crate::print::{plain, shorten};
use crate::say;
use terminal_size::{Width, terminal_size};

/// Width where there is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// Narrowest first column.
const LEAST_NAME: usize = 12;

/// A table with a header. The first column is aligned left, the others right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|&title| title.to_owned()).collect()] }
    }

    /// Adds a row with as many cells as there are titles. Cells may hold text from files.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell).into_owned()).collect());
    }

    /// Whether there is nothing below the titles.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines, each ended by a line break and at most as wide as the terminal where that is possible.
    pub fn render(&self) -> String {
        let width = terminal_size().map_or(DEFAULT_WIDTH, |(Width(width), _)| usize::from(width));
        let text = self.render_to(width);
        match text.split_once('\n') {
            Some((titles, rows)) if say::colours_stdout() => format!("\x1b[1m{titles}\x1b[0m\n{rows}"),
            _ => text,
        }
    }

    fn render_to(&self, width: usize) -> String {
        let columns = self.rows[0].len();
        let mut widths: Vec<_> = (0..columns)
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let others: usize = widths[1..].iter().map(|width| width + 2).sum();
        widths[0] = widths[0].min(width.saturating_sub(others).max(LEAST_NAME));

        let mut text = String::new();
        for row in &self.rows {
            let first = format!("{:<1$}", shorten(&row[0], widths[0]), widths[0]);
            let rest = row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
            text.push_str(rest.fold(first, |line, cell| line + &cell).trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_the_width() {
        let mut table = Table::new(&["module", "rank"]);
        table.row(vec!["model.layers.0.self_attn.q_proj".to_owned(), "32".to_owned()]);
        assert_eq!(table.render_to(80).lines().last().unwrap(), "model.layers.0.self_attn.q_proj    32");
        let narrow = table.render_to(24);
        assert!(narrow.lines().all(|line| line.chars().count() <= 24), "{narrow}");
        assert!(narrow.contains("model.la…tn.q_proj"), "{narrow}");
    }
}
