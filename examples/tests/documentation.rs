//! Whoever looks a public type up finds a doctest that runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a reader of the documentation looks up. Whatever says `pub` here can be reached from outside the crate: the lint
/// `unreachable_pub` sees to that.
const TYPES: [&str; 5] = ["pub struct ", "pub enum ", "pub trait ", "pub type ", "pub union "];

/// Words behind the three backticks with which nothing runs, or nothing need succeed.
const IDLE: [&str; 3] = ["ignore", "compile_fail", "should_panic"];

/// All source files of the two libraries with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("examples lie in the workspace");
    let mut files = Vec::new();
    for library in ["lb-core", "lb-net"] {
        collect(&workspace.join(library).join("src"), &mut files);
    }
    assert!(files.len() > 100, "there are more files than {}", files.len());
    files
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("sources are text");
            files.push((path, text));
        }
    }
}

/// What stands between an item and the end of the one before it: its documentation and its attributes.
fn above<'a>(lines: &'a [&'a str], item: usize) -> impl Iterator<Item = &'a str> {
    let is_end = |line: &str| !line.starts_with("//") && (line.is_empty() || line.ends_with(['{', '}', ';']));
    lines[..item].iter().rev().map(|line| line.trim()).take_while(move |line| !is_end(line))
}

/// The words that open the blocks of code among these lines of documentation.
fn openings<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let fences = lines.filter_map(|line| line.get(3..)?.trim().strip_prefix("```"));
    fences.step_by(2)
}

/// The types of a file that have no doctest.
fn without_doctest(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let is_type = |line: &str| TYPES.iter().any(|item| line.trim_start().starts_with(item));
    let is_tested = |at: &usize| {
        let mut docs: Vec<&str> = above(&lines, *at).filter(|line| line.starts_with("///")).collect();
        docs.reverse();
        openings(docs.into_iter()).any(|words| ["", "rust", "no_run"].contains(&words))
    };
    let types = (0..lines.len()).filter(|at| is_type(lines[*at]));
    types.filter(|at| !is_tested(at)).map(|at| lines[at].trim()).collect()
}

#[test]
fn every_public_type_has_a_doctest() {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| without_doctest(text).into_iter().map(|item| format!("{}: {item}", path.display())))
        .collect();
    assert!(found.is_empty(), "no doctest at\n{}", found.join("\n"));
}

#[test]
fn doctests_run() {
    for (path, text) in sources() {
        let docs =
            text.lines().map(str::trim).filter(|line| line.starts_with("//! ```") || line.starts_with("/// ```"));
        let idle: Vec<&str> = openings(docs).filter(|words| IDLE.iter().any(|word| words.contains(word))).collect();
        assert!(idle.is_empty(), "{}: {idle:?}", path.display());
    }
}

#[test]
fn a_type_without_one_is_found_whatever_stands_between() {
    let good = "/// It.\n/// ```\n/// ```\n#[derive(Debug)]\n#[non_exhaustive]\npub struct It {\n";
    assert!(without_doctest(good).is_empty());
    let other = format!(
        "{good}}}\n\n/// Another.\n#[derive(\n    Debug,\n)]\npub(crate) struct Own;\n    pub enum Other {{}}\n"
    );
    assert_eq!(without_doctest(&other), ["pub enum Other {}"]);
    let wire = good.replacen("```", "```text", 1);
    assert_eq!(without_doctest(&wire), ["pub struct It {"], "what is shown does not run");
}
