//! Unified diffs, written and strictly applied.
//!
//! A diff from elsewhere is applied only if every line that it keeps or removes is there. Its line
//! numbers may be wrong, as those of models are, when the lines stand at one place only. It may not name
//! a file outside of the workspace, nor be empty.

use std::path::{Path, PathBuf};

use super::change::Change;
use super::tree::Tree;

/// A diff that cannot be applied, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is none.
    #[error("there is no unified diff in the answer")]
    NoDiff,
    /// A line that has no place in one.
    #[error("line {0} of the diff cannot be read")]
    Malformed(usize),
    /// It names a file that may not be changed.
    #[error("the diff names `{0}`, which is not a file inside of the workspace")]
    Outside(String),
    /// It changes what is not there.
    #[error("the diff does not fit `{file}`: {problem}")]
    DoesNotFit {
        /// The file.
        file: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The change of one file as text. Empty if there is none.
pub(super) fn diff(file: &Path, before: &str, after: &str, was: bool, is: bool) -> String {
    if before == after && was == is {
        return String::new();
    }
    let name = |prefix: &str, there| {
        if there {
            format!("{prefix}/{}", file.display())
        } else {
            "/dev/null".to_owned()
        }
    };
    let diff = similar::TextDiff::from_lines(before, after);
    let mut unified = diff.unified_diff();
    unified.header(&name("a", was), &name("b", is));
    unified.to_string()
}

/// What a diff says of one file.
#[derive(Debug, Default)]
struct FilePatch {
    from: Option<String>,
    to: Option<String>,
    hunks: Vec<Hunk>,
}

#[derive(Debug, Default)]
struct Hunk {
    /// The line it says it begins at, from 1.
    line: usize,
    before: Vec<String>,
    after: Vec<String>,
    /// Whether the last line of each side has no line break.
    open_before: bool,
    open_after: bool,
}

/// The change that a diff asks for. The diff may stand in a fenced block with words around it.
///
/// # Errors
///
/// Says what of it cannot be read, or does not fit.
pub fn change(tree: &Tree, text: &str) -> Result<Change, PatchError> {
    let files = parse(text)?;
    let mut change = Change::default();
    for file in &files {
        let (name, content) = file.apply(tree, &change)?;
        change.files.insert(name, content);
    }
    if change.files.is_empty() {
        return Err(PatchError::NoDiff);
    }
    Ok(change)
}

fn parse(text: &str) -> Result<Vec<FilePatch>, PatchError> {
    let lines: Vec<&str> = text.lines().collect();
    let mut files: Vec<FilePatch> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let next = lines.get(at + 1).copied().unwrap_or_default();
        if let (Some(from), Some(to)) = (line.strip_prefix("--- "), next.strip_prefix("+++ ")) {
            files.push(FilePatch {
                from: name_of(from),
                to: name_of(to),
                hunks: Vec::new(),
            });
            at += 2;
        } else if line.starts_with("@@") {
            let file = files.last_mut().ok_or(PatchError::Malformed(at + 1))?;
            let (hunk, end) = hunk(&lines, at)?;
            file.hunks.push(hunk);
            at = end;
        } else {
            at += 1;
        }
    }
    if files.iter().all(|file| file.hunks.is_empty()) {
        return Err(PatchError::NoDiff);
    }
    Ok(files)
}

/// The file a header names, without the letter that git puts before it and the time behind it.
fn name_of(text: &str) -> Option<String> {
    let name = text.split('\t').next().unwrap_or(text).trim();
    if name == "/dev/null" {
        return None;
    }
    let short = name.strip_prefix("a/").or_else(|| name.strip_prefix("b/"));
    Some(short.unwrap_or(name).to_owned())
}

/// The hunk that begins at a line, and where the next thing begins.
fn hunk(lines: &[&str], start: usize) -> Result<(Hunk, usize), PatchError> {
    let mut hunk = Hunk {
        line: first_number(lines[start]).unwrap_or(0),
        ..Hunk::default()
    };
    let mut at = start + 1;
    let mut last = ' ';
    while let Some(line) = lines.get(at) {
        let next = lines.get(at + 1).copied().unwrap_or_default();
        let is_header = line.starts_with("--- ") && next.starts_with("+++ ");
        if line.starts_with("@@") || line.starts_with("```") || is_header {
            break;
        }
        match line.chars().next() {
            Some(sign @ (' ' | '-' | '+')) => {
                let text = line[1..].to_owned();
                last = sign;
                if sign != '+' {
                    hunk.before.push(text.clone());
                }
                if sign != '-' {
                    hunk.after.push(text);
                }
            }
            // Editors remove the one space that an empty line of context has.
            None if lines[at + 1..]
                .iter()
                .any(|line| line.starts_with([' ', '-', '+'])) =>
            {
                hunk.before.push(String::new());
                hunk.after.push(String::new());
            }
            Some('\\') => {
                hunk.open_before |= last != '+';
                hunk.open_after |= last != '-';
            }
            _ => break,
        }
        at += 1;
    }
    if hunk.before.is_empty() && hunk.after.is_empty() {
        return Err(PatchError::Malformed(start + 1));
    }
    Ok((hunk, at))
}

fn first_number(header: &str) -> Option<usize> {
    let digits = header.split_once('-')?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

impl FilePatch {
    fn apply(&self, tree: &Tree, done: &Change) -> Result<(PathBuf, Option<String>), PatchError> {
        let name = self.to.as_ref().or(self.from.as_ref());
        let name = name.ok_or(PatchError::NoDiff)?;
        let fits_not = |problem| PatchError::DoesNotFit {
            file: name.clone(),
            problem,
        };
        if self.from.is_some() && self.to.is_some() && self.from != self.to {
            return Err(fits_not("it renames the file"));
        }
        let outside = || PatchError::Outside(name.clone());
        let file = tree.named(name).ok_or_else(outside)?;
        let now = match done.files.get(&file) {
            Some(content) => content.clone(),
            None => tree.read(&file),
        };
        let text = match (&self.from, now) {
            (None, None) => String::new(),
            (None, Some(_)) => return Err(fits_not("there is such a file already")),
            (Some(_), Some(text)) => text,
            (Some(_), None) => return Err(fits_not("there is no such file")),
        };
        let text = self.hunks_on(&text).map_err(fits_not)?;
        match &self.to {
            None if text.is_empty() => Ok((file, None)),
            None => Err(fits_not("it removes the file, but not all of its lines")),
            Some(_) => Ok((file, Some(text))),
        }
    }

    fn hunks_on(&self, text: &str) -> Result<String, &'static str> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for hunk in &self.hunks {
            let at = hunk.place(&lines, done)?;
            lines[done..at].iter().for_each(|line| out.push_str(line));
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            done = at + hunk.before.len();
            let crlf = lines.get(at).is_some_and(|line| line.ends_with("\r\n"));
            for (index, line) in hunk.after.iter().enumerate() {
                out.push_str(line);
                let is_open = hunk.open_after && index + 1 == hunk.after.len();
                match (is_open, crlf && !line.ends_with('\r')) {
                    (true, _) => {}
                    (false, true) => out.push_str("\r\n"),
                    (false, false) => out.push('\n'),
                }
            }
        }
        lines[done..].iter().for_each(|line| out.push_str(line));
        Ok(out)
    }
}

impl Hunk {
    /// The line, from 0, at which the hunk fits: where it says, else the only place there is.
    fn place(&self, lines: &[&str], from: usize) -> Result<usize, &'static str> {
        let fits = |at: usize| {
            let there = lines.get(at..at + self.before.len());
            there.is_some_and(|there| {
                let mut pairs = there.iter().zip(&self.before);
                pairs.all(|(line, wanted)| ending_off(line) == ending_off(wanted))
            })
        };
        let said = if self.before.is_empty() {
            self.line
        } else {
            self.line.saturating_sub(1)
        };
        if said >= from && fits(said) {
            return Ok(said);
        }
        if self.before.is_empty() {
            return Err("nothing says where its new lines belong");
        }
        let mut places = (from..lines.len()).filter(|at| fits(*at));
        let place = places.next();
        let place = place.ok_or("its lines are not there")?;
        if places.next().is_some() {
            return Err("its lines are at several places, and not where it says");
        }
        Ok(place)
    }
}

fn ending_off(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(place: &Path) -> Tree {
        let (workspace, copy) = (place.join("workspace"), place.join("copy"));
        std::fs::create_dir_all(workspace.join("src")).unwrap();
        std::fs::write(workspace.join("src/a"), "1\n2\n3\n4\n5\n").unwrap();
        std::fs::write(workspace.join("open"), "a\nb").unwrap();
        Tree::copy(&workspace, &copy).unwrap()
    }

    fn applied(text: &str) -> Result<String, String> {
        let place = tempfile::tempdir().unwrap();
        let tree = tree(place.path());
        let change = change(&tree, text).map_err(|error| error.to_string())?;
        let files = change.files.into_iter();
        Ok(files
            .map(|(file, text)| format!("{}={}", file.display(), text.unwrap_or_default()))
            .collect())
    }

    #[test]
    fn what_we_write_we_can_apply() {
        let text = diff(
            Path::new("src/a"),
            "1\n2\n3\n4\n5\n",
            "1\nx\n3\n4\n5\n6\n",
            true,
            true,
        );
        assert_eq!(applied(&text).unwrap(), "src/a=1\nx\n3\n4\n5\n6\n");
        let text = diff(Path::new("open"), "a\nb", "a\nc", true, true);
        assert_eq!(applied(&text).unwrap(), "open=a\nc");
        let text = diff(Path::new("new"), "", "x\n", false, true);
        assert_eq!(applied(&text).unwrap(), "new=x\n");
    }

    #[test]
    fn words_around_it_and_wrong_numbers_are_borne() {
        let text =
            "Here:\n```diff\n--- a/src/a\n+++ b/src/a\n@@ -40,2 +40,2 @@\n 3\n-4\n+x\n```\nDone.";
        assert_eq!(applied(text).unwrap(), "src/a=1\n2\n3\nx\n5\n");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let with =
            |file: &str, hunk: &str| format!("--- a/{file}\n+++ b/{file}\n@@ -1,1 +1,1 @@\n{hunk}");
        let cases = [
            (with("src/a", "-7\n+x\n"), "its lines are not there"),
            (with("../a", "-1\n+x\n"), "not a file inside"),
            (with("/etc/passwd", "-1\n+x\n"), "not a file inside"),
            (with("missing", "-1\n+x\n"), "no such file"),
            (with(".git/config", "-1\n+x\n"), "not a file inside"),
            ("I cannot help.".to_owned(), "no unified diff"),
            ("@@ -1 +1 @@\n-1\n+2\n".to_owned(), "line 1"),
            (
                "--- a/src/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n".to_owned(),
                "not all of its lines",
            ),
            (
                "--- a/src/a\n+++ b/open\n@@ -1 +1 @@\n-1\n+2\n".to_owned(),
                "renames",
            ),
        ];
        for (text, problem) in cases {
            let error = applied(&text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
