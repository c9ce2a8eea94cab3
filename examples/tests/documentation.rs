//! Whoever looks a public type up finds a doctest that runs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What a reader of the documentation looks up.
const TYPES: [&str; 5] = ["pub struct ", "pub enum ", "pub trait ", "pub type ", "pub union "];

/// Words behind the three backticks with which nothing runs, or nothing need succeed.
const IDLE: [&str; 3] = ["ignore", "compile_fail", "should_panic"];

const LIBRARIES: [&str; 2] = ["lb-core", "lb-net"];

/// All source files of a library with their text.
fn sources(library: &str) -> Vec<(PathBuf, String)> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("examples lie in the workspace");
    let mut files = Vec::new();
    collect(&workspace.join(library).join("src"), &mut files);
    assert!(files.len() > 30, "{library} has more files than {}", files.len());
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

/// What of a library can be named elsewhere. The rest, such as a sealed trait, nobody looks up.
struct Surface {
    /// The words of all `pub use`.
    exported: BTreeSet<String>,
    /// The names of all modules that are `pub mod`.
    modules: BTreeSet<String>,
}

impl Surface {
    fn of(files: &[(PathBuf, String)]) -> Self {
        let behind = |keyword: &'static str| files.iter().flat_map(move |(_, text)| text.split(keyword).skip(1));
        let is_between = |letter: char| !letter.is_alphanumeric() && letter != '_';
        let words = |text: &str| text.split(is_between).map(str::to_owned).collect::<Vec<_>>();
        let until = |rest: &str, ends: &[char]| words(rest.split(ends).next().unwrap_or_default());
        Self {
            exported: behind("pub use ").flat_map(|rest| until(rest, &[';'])).collect(),
            modules: behind("pub mod ").flat_map(|rest| until(rest, &[';', '{'])).collect(),
        }
    }

    /// Whether a type of this file that is declared so is part of it.
    fn has(&self, path: &Path, declaration: &str) -> bool {
        let module = if path.ends_with("mod.rs") { path.parent().and_then(Path::file_name) } else { path.file_stem() };
        let module = module.and_then(|name| name.to_str()).unwrap_or_default();
        let behind = TYPES.iter().find_map(|kind| declaration.strip_prefix(kind)).unwrap_or_default();
        let name = behind.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        module == "lib" || self.modules.contains(module) || self.exported.contains(name)
    }
}

#[test]
fn every_public_type_has_a_doctest() {
    for library in LIBRARIES {
        let files = sources(library);
        let surface = Surface::of(&files);
        let without =
            files.iter().flat_map(|(path, text)| without_doctest(text).into_iter().map(move |item| (path, item)));
        let found = without.filter(|(path, item)| surface.has(path, item));
        let found: Vec<String> = found.map(|(path, item)| format!("{}: {item}", path.display())).collect();
        assert!(found.is_empty(), "no doctest at\n{}", found.join("\n"));
    }
}

#[test]
fn doctests_run() {
    for (path, text) in LIBRARIES.into_iter().flat_map(sources) {
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

#[test]
fn what_nobody_can_name_needs_no_doctest() {
    let file = |name: &str, text: &str| (PathBuf::from(name), text.to_owned());
    let root = "pub mod open;\nmod own;\npub use self::{\n    own::Shown,\n};\n";
    let files = [file("src/lib.rs", root), file("src/own.rs", "pub struct Shown;\npub struct Sealed<T>(T);\n")];
    let surface = Surface::of(&files);
    let has = |path: &str, declaration: &str| surface.has(Path::new(path), declaration);
    assert!(has("src/own.rs", "pub struct Shown;") && has("src/lib.rs", "pub enum Any {"));
    assert!(has("src/open.rs", "pub enum Any {") && has("src/open/mod.rs", "pub type Any = u8;"));
    assert!(!has("src/own.rs", "pub struct Sealed<T>(T);"));
}
