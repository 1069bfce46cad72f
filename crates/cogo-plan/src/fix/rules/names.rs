//! Names that are nearly right: the one the tool means, else files of the repository.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::{Candidate, Case, quoted, word_at};

/// `Did you mean 'x'?` and the like.
static MEANT: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?i)(?:did you mean|maybe you meant)(?: to (?:write|use))?:? ['"`‘]?([A-Za-z_$][\w$.]*)['"`’]?\s*\?"#;
    Regex::new(pattern).expect("the pattern is sound")
});

/// A file that is not there.
static NO_FILE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?:Cannot find module ['"](\.[^'"]+)['"]|([\w./-]+\.h\w*): No such file|No module named '([\w.]+)')"#;
    Regex::new(pattern).expect("the pattern is sound")
});

pub(super) fn candidates(case: &Case) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = meant(case).into_iter().collect();
    found.extend(similar_file(case));
    found
}

/// Writes the name that the tool means in the place of the one that is there.
fn meant(case: &Case) -> Option<Candidate> {
    let meant = MEANT.captures(case.message)?;
    let new = &meant[1];
    let whole = meant.get(0)?;
    // Of several names before it, the nearest one that stands on the line is the wrong one.
    let before = &case.message[..whole.start()];
    let start = case.line_start();
    let line = case.line_text();
    let mut names: Vec<&str> = Vec::new();
    let mut rest = before;
    while let Some(name) = quoted(rest) {
        names.push(name);
        let end = rest.find(name).unwrap_or(0) + name.len();
        rest = rest.get(end + 1..).unwrap_or_default();
        rest = rest.trim_start_matches(['’', '\'', '"', '`']);
    }
    let from = case.offset().map_or(0, |at| at.saturating_sub(start));
    let place = names.iter().rev().find_map(|name| {
        let at = word_at(line, name, from.min(line.len())).or_else(|| word_at(line, name, 0))?;
        (*name != new).then_some((at, name.len()))
    });
    let (at, length) = place?;
    let description = format!("write `{new}`");
    case.replace(description, start + at..start + at + length, new)
}

/// Writes the name of the file that is most like the one that is not there.
fn similar_file(case: &Case) -> Option<Candidate> {
    let found = NO_FILE.captures(case.message)?;
    let wanted = (1..=3).find_map(|group| found.get(group))?.as_str();
    let line = case.line_text();
    let at = line.find(wanted)?;
    let is_python = found.get(3).is_some();
    let separator = if is_python { '.' } else { '/' };
    let last = wanted.rsplit(separator).next()?;
    let endings: &[&str] = match (is_python, found.get(1).is_some()) {
        (true, _) => &["py"],
        (_, true) => &["ts", "tsx", "js", "mjs"],
        _ => &["h", "hpp", "hh"],
    };
    let name = |path: &Path| {
        let name = if found.get(2).is_some() {
            path.file_name()
        } else {
            path.file_stem()
        };
        name.unwrap_or_default().to_string_lossy().into_owned()
    };
    let here = case.file.parent().unwrap_or(Path::new(""));
    let likeness = |path: &PathBuf| strsim::normalized_damerau_levenshtein(&name(path), last);
    let sources = case.tree.sources().filter(|path| {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        endings.contains(&ending.as_ref()) && path != case.file && likeness(path) > 0.6
    });
    let best = sources.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let new = if is_python {
        let module = best.with_extension("");
        let parts = module
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        parts.collect::<Vec<_>>().join(".")
    } else {
        let keep_ending = wanted.ends_with(".js") || found.get(2).is_some();
        let path = if found.get(1).is_some() {
            best.with_extension("")
        } else {
            best
        };
        let mut relative = relative(here, &path);
        if found.get(2).is_some() {
            relative = relative.trim_start_matches("./").to_owned();
        } else if keep_ending {
            relative.push_str(".js");
        }
        relative
    };
    let start = case.line_start() + at;
    case.replace(format!("name `{new}`"), start..start + wanted.len(), new)
}

/// A path as seen from a directory, beginning with a dot.
pub(super) fn relative(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.len() - same;
    let mut parts: Vec<String> = vec!["..".to_owned(); up];
    if up == 0 {
        parts.push(".".to_owned());
    }
    let down = to[same..]
        .iter()
        .map(|part| part.as_os_str().to_string_lossy());
    parts.extend(down.map(std::borrow::Cow::into_owned));
    parts.join("/")
}
