//! Memory that the system refuses: whatever a file asks for ends in an error, never in an abort.
//!
//! The allocator of this program refuses all blocks above a limit once it is told to. Each case runs in a process of its own, since
//! what would be wrong ends the process. What is refused is what a tensor's size or a table's length steers, in files of some
//! megabytes; small blocks are always given, as Rust promises nothing without them.
#![allow(missing_docs)]

use phlora::{
    Adapter, AdapterFormat, ChannelScales, ConvertOptions, ExtractJob, ExtractOptions, MergeOptions, Mode,
    Model, Monitor, Output, Policy, PruneOptions, check, convert, inspect, merge, prune, read_files, verify,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of a block above which it is refused.
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

struct Limited;

fn refused(size: usize) -> bool {
    let refused = size > MOST.load(Relaxed);
    REFUSED.fetch_add(usize::from(refused), Relaxed);
    refused
}

// SAFETY: all calls go to the system's allocator as they are, or give NULL, which says that there is no memory.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if refused(layout.size()) { ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if refused(layout.size()) { ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        if refused(size) { ptr::null_mut() } else { unsafe { System.realloc(place, layout, size) } }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// The environment variables that make a process run one case: which, the largest block, and where its files are.
const CASE: &str = "PHLORA_MEMORY_CASE";
const LIMIT: &str = "PHLORA_MEMORY_LIMIT";
const FILES: &str = "PHLORA_MEMORY_FILES";

type Case = (&'static str, fn(&Path) -> phlora::Result<()>);

/// Everything that takes a file, on files with one large thing.
const CASES: [Case; 17] = [
    ("many tensors", |at| Model::open(&at.join("many.safetensors")).map(drop)),
    ("many tensors of GGUF", |at| Model::open(&at.join("many.gguf")).map(drop)),
    ("many keys of GGUF", |at| Model::open(&at.join("keys.gguf")).map(drop)),
    ("inspect many tensors", |at| inspect(&at.join("many.safetensors")).map(drop)),
    ("a file that is read", |at| {
        read_files(true);
        Model::open(&at.join("base.safetensors")).map(drop)
    }),
    ("extract, exact", |at| extract(at, Mode::Exact, AdapterFormat::Peft)),
    ("extract, several reads", |at| extract(at, Mode::MultiRead, AdapterFormat::Peft)),
    ("extract, one read", |at| extract(at, Mode::StreamOnce, AdapterFormat::Peft)),
    ("extract, compact", |at| extract(at, Mode::Auto, AdapterFormat::Phlora)),
    ("plan", |at| {
        ExtractJob::new(base(at).as_path(), tuned(at).as_path())
            .options(options())
            .plan(&Monitor::default())
            .map(drop)
    }),
    ("check", |at| check(&at.join("adapter"), &Model::open(&base(at))?, &Monitor::default()).map(drop)),
    ("convert", |at| {
        let mut options = ConvertOptions::new(AdapterFormat::Comfy);
        options.prefix = Some("x".into());
        convert(
            &Adapter::open(&at.join("adapter"))?,
            &at.join("out.safetensors"),
            &options,
            &Monitor::default(),
        )
        .map(drop)
    }),
    ("convert to another dtype", |at| {
        let mut options = ConvertOptions::new(AdapterFormat::Peft);
        options.dtype = Some(phlora::Dtype::F32);
        convert(&Adapter::open(&at.join("adapter"))?, &at.join("out"), &options, &Monitor::default())
            .map(drop)
    }),
    ("prune", |at| {
        let mut options = PruneOptions::default();
        options.policy = Policy::fixed(1);
        prune(&Adapter::open(&at.join("adapter"))?, &at.join("out"), &options, &Monitor::default()).map(drop)
    }),
    ("merge", |at| {
        let (base, adapter) = (Model::open(&base(at))?, Adapter::open(&at.join("adapter"))?);
        merge(
            &base,
            &[(&adapter, 1.0)],
            &at.join("out.safetensors"),
            &MergeOptions::default(),
            &Monitor::default(),
        )
        .map(drop)
    }),
    ("verify", |at| {
        let (base, tuned, adapter) =
            (Model::open(&base(at))?, Model::open(&tuned(at))?, Adapter::open(&at.join("adapter"))?);
        verify(&base, &tuned, &adapter, &ChannelScales::default(), NonZeroUsize::MIN, &Monitor::default())
            .map(drop)
    }),
    ("an adapter in the compact form", |at| Adapter::open(&at.join("a.phlora")).map(drop)),
];

fn base(at: &Path) -> PathBuf {
    at.join("base.safetensors")
}

fn tuned(at: &Path) -> PathBuf {
    at.join("tuned.safetensors")
}

fn options() -> ExtractOptions {
    let mut options = ExtractOptions::default();
    (options.policy, options.threads) = (Policy::fixed(2), NonZeroUsize::MIN);
    options
}

fn extract(at: &Path, mode: Mode, format: AdapterFormat) -> phlora::Result<()> {
    let mut options = options();
    (options.mode, options.format) = (mode, format);
    let job = ExtractJob::new(base(at).as_path(), tuned(at).as_path()).options(options);
    job.run(&Output::new(at.join("out")), &Monitor::default()).map(drop)
}

/// A safetensors file of F16 tensors filled with `byte`.
fn safetensors(tensors: &[(String, Vec<usize>)], byte: u8) -> Vec<u8> {
    let (mut header, mut at) = (String::from("{"), 0);
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<usize>();
        let _ = write!(
            header,
            "\"{name}\":{{\"dtype\":\"F16\",\"shape\":{shape:?},\"data_offsets\":[{at},{end}]}},"
        );
        at = end;
    }
    header.pop();
    header.push('}');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len() + at, byte);
    file
}

/// A GGUF file of `keys` keys and `tensors` tensors of one byte.
fn gguf(keys: u64, tensors: u64) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut file =
        [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &tensors.to_le_bytes(), &(keys + 1).to_le_bytes()]
            .concat();
    file.extend(
        [text("general.alignment"), 4_u32.to_le_bytes().to_vec(), 1_u32.to_le_bytes().to_vec()].concat(),
    );
    for key in 0..keys {
        file.extend([text(&format!("k{key}")), 0_u32.to_le_bytes().to_vec(), vec![1]].concat());
    }
    for tensor in 0..tensors {
        file.extend([text(&format!("t{tensor}")), 1_u32.to_le_bytes().to_vec()].concat());
        file.extend([1_u64.to_le_bytes().as_slice(), &24_u32.to_le_bytes(), &tensor.to_le_bytes()].concat());
    }
    file.resize(file.len() + tensors as usize, 1);
    file
}

/// Long rows and long columns of modules, a long norm, and long tables.
fn write_files(at: &Path) {
    let wide = ("model.layers.0.self_attn.q_proj.weight".to_owned(), vec![40, 40_000]);
    let tall = ("model.layers.0.self_attn.o_proj.weight".to_owned(), vec![40_000, 40]);
    let tensors = [wide, tall, ("model.norm.weight".to_owned(), vec![400_000])];
    fs::write(base(at), safetensors(&tensors, 0x3c)).unwrap();
    let mut other = safetensors(&tensors, 0x3c);
    let from = other.len() - 2 * 3_600_000;
    for (i, byte) in other[from..].iter_mut().enumerate() {
        *byte = [0x3c, 0x3b, 0xbc][(i / 2) * (i / 2) % 11 % 3];
    }
    fs::write(tuned(at), other).unwrap();
    let many: Vec<_> = (0..30_000).map(|i| (format!("t{i}"), vec![1])).collect();
    fs::write(at.join("many.safetensors"), safetensors(&many, 0x3c)).unwrap();
    fs::write(at.join("many.gguf"), gguf(0, 30_000)).unwrap();
    fs::write(at.join("keys.gguf"), gguf(30_000, 1)).unwrap();
    // Of a rank at which factors are above the least limit.
    let mut options = options();
    options.policy = Policy::fixed(8);
    let mut make = |format, name: &str| {
        options.format = format;
        let job = ExtractJob::new(base(at).as_path(), tuned(at).as_path()).options(options.clone());
        job.run(&Output::new(at.join(name)), &Monitor::default()).unwrap();
    };
    make(AdapterFormat::Peft, "adapter");
    make(AdapterFormat::Phlora, "a.phlora");
}

/// Runs one case in this process, where another one asks for it.
#[test]
fn one_case() {
    let Ok(name) = std::env::var(CASE) else { return };
    let (_, run) = CASES.iter().find(|(case, _)| *case == name).expect("a case");
    let (most, at) =
        (std::env::var(LIMIT).unwrap().parse().unwrap(), PathBuf::from(std::env::var(FILES).unwrap()));
    MOST.store(most, Relaxed);
    let done = run(&at);
    MOST.store(usize::MAX, Relaxed);
    println!("refused {}", REFUSED.load(Relaxed));
    match done {
        Ok(()) => println!("done"),
        Err(error) => println!("error: {error}"),
    }
}

/// Removes what a case wrote; there is nothing hidden beside it.
fn clear(directory: &Path, case: &str) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with('.'), "{case}: it leaves {name}");
        if name.starts_with("out") {
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }
}

#[test]
fn memory_that_is_refused_is_an_error() {
    if std::env::var(CASE).is_ok() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path());
    let mut wrong = Vec::new();
    for (case, _) in CASES {
        let mut errors = 0;
        // Half an MB is above all that does not depend on a file.
        for most in [1 << 19, 1 << 20, 3 << 20, 7 << 20] {
            let out = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "one_case", "--nocapture", "--test-threads=1"])
                .env(CASE, case)
                .env(LIMIT, most.to_string())
                .env(FILES, directory.path())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&out.stdout);
            let refused = !text.contains("refused 0\n");
            let error = text.contains("error: ");
            errors += usize::from(error);
            if !out.status.success() || refused != error {
                let words = String::from_utf8_lossy(&out.stderr);
                wrong.push(format!("{case}, blocks of {most}: {}\n{text}{words}", out.status));
            }
            clear(directory.path(), case);
        }
        if errors == 0 {
            wrong.push(format!("{case}: nothing was refused"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
