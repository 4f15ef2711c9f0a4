use super::*;
use std::fs;
use std::path::Path;

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_dropped_directory_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let staged = StagedDir::create(&root.path().join("out"), Replaces::Adapter, false).unwrap();
    fs::write(staged.path().join("adapter_config.json"), "{}").unwrap();
    drop(staged);
    assert!(names(root.path()).is_empty());
}

#[test]
fn replaces_an_adapter_but_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    for content in ["old", "new"] {
        let staged = StagedDir::create(&out, Replaces::Adapter, true).unwrap();
        fs::write(staged.path().join("adapter_config.json"), content).unwrap();
        staged.commit().unwrap();
        assert_eq!(fs::read_to_string(out.join("adapter_config.json")).unwrap(), content);
        assert_eq!(names(root.path()), ["out"]);
    }
    assert!(StagedDir::create(&out, Replaces::Adapter, false).unwrap_err().to_string().contains("--force"));
    fs::write(out.join("model.safetensors"), "precious").unwrap();
    assert!(
        StagedDir::create(&out, Replaces::Adapter, true)
            .unwrap_err()
            .to_string()
            .contains("holds model.safetensors")
    );
    fs::remove_file(out.join("model.safetensors")).unwrap();
    fs::rename(out.join("adapter_config.json"), out.join("README.md")).unwrap();
    assert!(
        StagedDir::create(&out, Replaces::Adapter, true)
            .unwrap_err()
            .to_string()
            .contains("no adapter_config.json")
    );
}

#[test]
fn sees_through_other_spellings_of_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let (out, side) = (root.path().join("out"), root.path().join("side"));
    fs::create_dir(&out).unwrap();
    fs::create_dir(&side).unwrap();
    for path in [out.clone(), out.join("r.json"), side.join("../out"), side.join("../out/r.json")] {
        assert!(is_within(&path, &out), "{}", path.display());
    }
    assert!(is_within(&root.path().join("new/r.json"), &root.path().join("new")));
    for path in [root.path().join("out.json"), side.join("out"), side.join("../r.json")] {
        assert!(!is_within(&path, &out), "{}", path.display());
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_not_replaced_however_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    let link = root.path().join("link");
    fs::create_dir(root.path().join("out")).unwrap();
    std::os::unix::fs::symlink("out", &link).unwrap();
    for target in [link.clone(), link.join("")] {
        let message = StagedDir::create(&target, Replaces::Adapter, true).unwrap_err().to_string();
        assert!(message.contains("not a directory"), "{message}");
    }
    assert_eq!(names(root.path()), ["link", "out"]);
}

fn adapter(out: &Path, content: &str) {
    let staged = StagedDir::create(out, Replaces::Adapter, true).unwrap();
    fs::write(staged.path().join("adapter_config.json"), content).unwrap();
    staged.commit().unwrap();
}

#[test]
fn what_others_put_into_an_adapter_stays() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    adapter(&out, "old");
    for (name, content) in
        [("README.md", "mine"), (".gitattributes", "too"), ("adapter_model.safetensors", "old")]
    {
        fs::write(out.join(name), content).unwrap();
    }
    adapter(&out, "new");
    assert_eq!(names(&out), [".gitattributes", "README.md", "adapter_config.json"]);
    assert_eq!(fs::read_to_string(out.join("README.md")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(out.join("adapter_config.json")).unwrap(), "new");
    // Edited while the next one is built.
    let staged = StagedDir::create(&out, Replaces::Adapter, true).unwrap();
    fs::remove_file(out.join("README.md")).unwrap();
    fs::write(out.join("README.md"), "edited").unwrap();
    fs::write(staged.path().join("adapter_config.json"), "newer").unwrap();
    staged.commit().unwrap();
    assert_eq!(fs::read_to_string(out.join("README.md")).unwrap(), "edited");
    // A dropped one takes nothing along.
    drop(StagedDir::create(&out, Replaces::Adapter, true).unwrap());
    assert_eq!(fs::read_to_string(out.join("README.md")).unwrap(), "edited");
    assert_eq!(names(root.path()), ["out"]);
}

#[test]
fn any_number_of_runs_may_be_at_it_or_have_been_killed() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let running: Vec<_> =
        (0..40).map(|_| StagedDir::create(&out, Replaces::Adapter, false).unwrap()).collect();
    let file = root.path().join("file");
    let known = Known { name: "a file", is: |_| true };
    let files: Vec<_> = (0..40).map(|_| StagedFile::create(&file, known, false).unwrap()).collect();
    assert_eq!(names(root.path()).len(), 80, "what is in use stays");
    drop((running, files));
    assert!(names(root.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn what_killed_runs_left_is_removed_by_the_next() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let left = root.path().join(".out.phlora-0123456789abcdef");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("adapter_model.safetensors"), "half").unwrap();
    fs::write(root.path().join(".out.phlora-fedcba9876543210"), "half").unwrap();
    // Names that are others'.
    for other in
        [".out.phlora-0123456789abcde", ".out.phlora-0123456789abcdeg", ".outer.phlora-0123456789abcdef"]
    {
        fs::write(root.path().join(other), "mine").unwrap();
    }
    drop(StagedDir::create(&out, Replaces::Adapter, false).unwrap());
    assert_eq!(names(root.path()).len(), 3, "{:?}", names(root.path()));
}

#[cfg(unix)]
#[test]
fn a_directory_that_had_gone_aside_is_put_back() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    adapter(&out, "old");
    fs::rename(&out, root.path().join(".out.phlora-0123456789abcdef-old")).unwrap();
    fs::create_dir(root.path().join(".out.phlora-fedcba9876543210")).unwrap();
    let message = StagedDir::create(&out, Replaces::Adapter, false).unwrap_err().to_string();
    assert!(message.contains("--force"), "{message}");
    assert_eq!(fs::read_to_string(out.join("adapter_config.json")).unwrap(), "old");
    assert_eq!(names(root.path()), ["out"]);
    // Where the new one has taken its place, it is what is left over.
    fs::create_dir(root.path().join(".out.phlora-0123456789abcdef-old")).unwrap();
    adapter(&out, "new");
    assert_eq!(names(root.path()), ["out"]);
}

#[test]
fn long_names_have_temporaries_too() {
    let root = tempfile::tempdir().unwrap();
    for name in ["n".repeat(255), "é".repeat(127)] {
        let out = root.path().join(&name);
        adapter(&out, "old");
        adapter(&out, "new");
        assert_eq!(names(root.path()), [name]);
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn a_new_file_replaces_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    let staged = StagedFile::create(&path, Known { name: "a file", is: |_| true }, false).unwrap();
    fs::write(&path, "others'").unwrap();
    assert!(staged.commit().is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "others'");
    assert_eq!(names(root.path()), ["file"]);
}
