//! What all commands take.

use super::heading::EVERY;
use clap::{Args, ColorChoice, ValueEnum};

#[derive(Debug, Clone, Args)]
pub struct EveryArgs {
    /// No progress bar, no tables, no summary
    #[arg(short, long, global = true, help_heading = EVERY)]
    pub quiet: bool,
    /// Say on standard error what is opened and how it is worked on
    #[arg(short, long, global = true, conflicts_with = "quiet", help_heading = EVERY)]
    pub verbose: bool,
    /// Whether help, tables and messages have colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorArg::Auto, global = true, help_heading = EVERY)]
    pub color: ColorArg,
    /// Read input files into memory in the place of mapping them: for files that others may shorten meanwhile, and for
    /// network file systems
    #[arg(long, global = true, help_heading = EVERY)]
    pub read_files: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    Auto,
    Always,
    Never,
}

impl ColorArg {
    /// What is asked for among `words`, before they are parsed: what is wrong with them is said in colours as well.
    pub fn find(words: impl IntoIterator<Item = std::ffi::OsString>) -> Self {
        let mut found = Self::Auto;
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(word) = word.to_str() else { continue };
            let value = match word.strip_prefix("--color") {
                Some("") => words.next().and_then(|next| next.into_string().ok()),
                Some(rest) => rest.strip_prefix('=').map(str::to_owned),
                None if word == "--" => break,
                None => continue,
            };
            found = value.and_then(|value| Self::from_str(&value, false).ok()).unwrap_or(found);
        }
        found
    }
}

impl From<ColorArg> for ColorChoice {
    fn from(color: ColorArg) -> Self {
        match color {
            ColorArg::Auto => Self::Auto,
            ColorArg::Always => Self::Always,
            ColorArg::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_colours_counts() {
        let find = |words: &str| ColorArg::find(words.split(' ').map(Into::into));
        assert_eq!(find("extract a b"), ColorArg::Auto);
        assert_eq!(find("--color always x --color=never"), ColorArg::Never);
        assert_eq!(find("--color sometimes"), ColorArg::Auto);
        assert_eq!(find("-- --color always"), ColorArg::Auto);
    }
}
