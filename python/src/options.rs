//! Keyword arguments of Python as options of the library. Words are those of the command.

use crate::errors::exception;
use phlora::{
    AdapterFormat, Also, ChannelScales, Criterion, Dtype, ExtractOptions, Goal, Layers, Mode, Names, Policy,
    Server, Tokens, available_threads,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use regex::Regex;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// How ranks are chosen.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Ranks {
    rank: Option<usize>,
    energy: Option<f64>,
    total_energy: Option<f64>,
    budget: Option<u64>,
    by: String,
    noise_floor: bool,
    max_rank: Option<usize>,
    uniform: bool,
    multiple: usize,
}

/// What is extracted, and how.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct What {
    mode: String,
    dtype: Option<String>,
    format: Option<String>,
    names: Option<String>,
    prefix: Option<String>,
    base_name: Option<String>,
    server: Option<String>,
    also: Vec<String>,
    token_energy: f64,
    include: Vec<String>,
    exclude: Vec<String>,
    save_module: Vec<String>,
    channel_scales: Option<PathBuf>,
    tolerance: f64,
    max_reads: u32,
    scratch: Option<usize>,
    threads: Option<NonZeroUsize>,
}

/// One of `words`.
fn word<T: Copy>(what: &str, given: &str, words: &[(&str, T)]) -> PyResult<T> {
    words.iter().find(|(word, _)| *word == given).map(|&(_, value)| value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        PyValueError::new_err(format!("{what}: {given:?} is none of {}", known.join(", ")))
    })
}

pub fn dtype(given: &str) -> PyResult<Dtype> {
    let words = [
        ("f32", Dtype::F32),
        ("f16", Dtype::F16),
        ("bf16", Dtype::Bf16),
        ("q8_0", Dtype::Q8_0),
        ("q5_1", Dtype::Q5_1),
        ("q5_0", Dtype::Q5_0),
        ("q4_1", Dtype::Q4_1),
        ("iq4_nl", Dtype::Iq4Nl),
        ("q4_0", Dtype::Q4_0),
    ];
    word("dtype", given, &words)
}

pub fn names(given: &str) -> PyResult<Names> {
    word("names", given, &[("memory", Names::Memory), ("checkpoint", Names::Checkpoint)])
}

/// The format that was asked for, or that the path of the output says.
pub fn format(asked: Option<&str>, output: &Path) -> PyResult<AdapterFormat> {
    let words = [
        ("peft", AdapterFormat::Peft),
        ("gguf", AdapterFormat::Gguf),
        ("kohya", AdapterFormat::Kohya),
        ("comfy", AdapterFormat::Comfy),
        ("mlx", AdapterFormat::Mlx),
        ("phlora", AdapterFormat::Phlora),
    ];
    let single = output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    match asked {
        Some(asked) => word("format", asked, &words),
        None if single => Err(PyValueError::new_err(format!(
            "{}: one safetensors file is of format kohya, comfy or phlora; PEFT's adapter is a directory",
            output.display()
        ))),
        None => Ok(AdapterFormat::of_path(output)),
    }
}

/// Refuses a dtype where directions have bits of their own.
pub fn check_bits(format: AdapterFormat, dtype: Option<&str>) -> PyResult<()> {
    if format == AdapterFormat::Phlora && dtype.is_some() {
        return Err(PyValueError::new_err(
            "the compact form has bits of its own for each direction: leave dtype out",
        ));
    }
    Ok(())
}

pub fn channel_scales(path: Option<&Path>) -> PyResult<ChannelScales> {
    let open = |path: &Path| ChannelScales::open(path).map_err(|error| exception(&error));
    path.map(open).transpose().map(Option::unwrap_or_default)
}

pub fn threads(given: Option<NonZeroUsize>) -> NonZeroUsize {
    given.unwrap_or_else(available_threads)
}

impl Ranks {
    pub fn policy(&self) -> PyResult<Policy> {
        let goals = [
            self.energy.map(Goal::Energy),
            self.total_energy.map(Goal::TotalEnergy),
            self.budget.map(Goal::Budget),
            self.noise_floor.then_some(Goal::NoiseFloor),
        ];
        let mut goals = goals.into_iter().flatten();
        let goal = match (self.rank, goals.next(), goals.next()) {
            (_, None, _) => Goal::Fixed,
            (None, Some(goal), None) => goal,
            _ => {
                let names = "rank, energy, total_energy, budget and noise_floor";
                return Err(PyValueError::new_err(format!("give one of {names}")));
            }
        };
        if let Goal::Energy(share) | Goal::TotalEnergy(share) = goal
            && !(share > 0.0 && share <= 1.0)
        {
            return Err(PyValueError::new_err(format!("energy: {share} is no share from 0 to 1")));
        }
        if self.rank.is_some() && self.max_rank.is_some() {
            return Err(PyValueError::new_err("give one of rank and max_rank"));
        }
        let fixed = goal == Goal::Fixed;
        let by = [("relative", Criterion::Relative), ("energy", Criterion::Energy)];
        Ok(Policy {
            goal,
            max_rank: self.rank.or(self.max_rank).unwrap_or(if fixed {
                Policy::default().max_rank
            } else {
                usize::MAX
            }),
            multiple: self.multiple,
            allowed: &[],
            uniform: self.uniform || fixed,
            by: word("by", &self.by, &by)?,
        })
    }
}

impl What {
    /// The options of an extraction to `output`, and what a server made of them.
    pub fn options(&self, policy: Policy, output: &Path) -> PyResult<(ExtractOptions, Vec<String>)> {
        let modes = [
            ("auto", Mode::Auto),
            ("exact", Mode::Exact),
            ("multi-read", Mode::MultiRead),
            ("stream-once", Mode::StreamOnce),
        ];
        let servers = [
            ("peft", Server::Peft),
            ("vllm", Server::Vllm),
            ("llama.cpp", Server::LlamaCpp),
            ("lorax", Server::Lorax),
            ("slora", Server::Slora),
            ("punica", Server::Punica),
        ];
        let mut options = ExtractOptions::default();
        options.policy = policy;
        options.mode = word("mode", &self.mode, &modes)?;
        options.format = format(self.format.as_deref(), output)?;
        check_bits(options.format, self.dtype.as_deref())?;
        if let Some(given) = &self.dtype {
            options.dtype = dtype(given)?;
        }
        options.choose_dtype = self.dtype.is_none();
        options.prefix.clone_from(&self.prefix);
        options.base_name.clone_from(&self.base_name);
        options.also = also(&self.also)?;
        options.token_energy = self.token_energy;
        options.filter.include = patterns("include", &self.include)?;
        options.filter.exclude = patterns("exclude", &self.exclude)?;
        options.save = patterns("save_module", &self.save_module)?;
        options.channel_scales = channel_scales(self.channel_scales.as_deref())?;
        options.tolerance = self.tolerance;
        options.max_reads = self.max_reads;
        options.scratch = self.scratch;
        options.threads = threads(self.threads);
        let server = self.server.as_deref().map(|given| word("server", given, &servers)).transpose()?;
        let notes = server.map_or_else(Vec::new, |server| server.adjust(&mut options));
        if let Some(given) = &self.names {
            options.names = names(given)?;
        }
        Ok((options, notes))
    }
}

fn patterns(what: &str, given: &[String]) -> PyResult<Vec<Regex>> {
    let pattern = |given: &String| {
        Regex::new(given).map_err(|error| PyValueError::new_err(format!("{what}: {given:?}: {error}")))
    };
    given.iter().map(pattern).collect()
}

fn also(given: &[String]) -> PyResult<Also> {
    let words = [("norms", 0), ("biases", 1), ("tokens", 2), ("new-tokens", 3), ("layers", 4)];
    let mut has = [false; 5];
    for given in given {
        has[word("also", given, &words)?] = true;
    }
    let mut also = Also::default();
    also.norms = has[0];
    also.biases = has[1];
    also.tokens = Tokens::of(has[2], has[3]);
    also.layers = if has[4] { Layers::All } else { Layers::Small };
    Ok(also)
}
