//! The examples of every help run as they stand, one after the other, in a directory with the models `base` and `tuned`.
#![cfg(unix)]

mod common;

use common::{phlora, tiny_llama};
use std::path::Path;
use std::process::Command;

/// In the order in which what one makes is there for the others.
const COMMANDS: [&str; 10] =
    ["extract", "join", "plan", "verify", "check", "convert", "prune", "merge", "report", "inspect"];

/// The examples of a command.
fn examples(command: &str) -> Vec<String> {
    let (code, help, _) = phlora(&[command, "--help"]);
    assert_eq!(code, 0);
    let (_, below) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{command} has no examples"));
    let lines = below.lines().map(str::trim).take_while(|line| line.starts_with("phlora "));
    lines.map(str::to_owned).collect()
}

fn shell(line: &str, directory: &Path) -> (bool, String) {
    let binary = Path::new(env!("CARGO_BIN_EXE_phlora")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let done =
        Command::new("sh").args(["-c", line]).env("PATH", path).current_dir(directory).output().unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[test]
fn every_example_of_the_help_works() {
    let root = tempfile::tempdir().unwrap();
    for (side, name) in [("base", "base"), ("tuned", "tuned"), ("tuned", "other")] {
        std::os::unix::fs::symlink(tiny_llama(side), root.path().join(name)).unwrap();
    }
    let mut wrong = Vec::new();
    for command in COMMANDS {
        let examples = examples(command);
        assert!(examples.iter().any(|line| line.starts_with(&format!("phlora {command} "))), "{command}");
        for line in examples {
            let (works, said) = shell(&line, root.path());
            if !works {
                wrong.push(format!("{line}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for piped in ["piped.gguf", "small.gguf", "piped.html"] {
        assert!(root.path().join(piped).metadata().unwrap().len() > 10_000, "{piped}");
    }
    assert!(!root.path().join("-").exists());
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let root = tempfile::tempdir().unwrap();
    let (code, _, stderr) = phlora(&["generate", root.path().to_str().unwrap(), "--quiet"]);
    assert_eq!(code, 0, "{stderr}");
    for command in COMMANDS {
        let page = root.path().join(format!("man/man1/phlora-{command}.1"));
        let page =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(page.contains("Examples:"), "{command}");
        for shell in ["phlora.bash", "_phlora", "phlora.fish", "_phlora.ps1", "phlora.elv"] {
            let text = std::fs::read_to_string(root.path().join("completions").join(shell)).unwrap();
            assert!(text.contains(command), "{shell}: {command}");
        }
    }
}
