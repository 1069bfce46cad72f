//! `CODEOWNERS`: who is asked about a file. The last rule that matches decides.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Where the file may lie, the first one counts.
pub(crate) const PLACES: [&str; 4] = [
    ".github/CODEOWNERS",
    "CODEOWNERS",
    "docs/CODEOWNERS",
    ".gitlab/CODEOWNERS",
];

/// The rules of a `CODEOWNERS` file.
#[derive(Debug, Default)]
pub struct Owners {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: Gitignore,
    /// Whether what lies deeper than the pattern belongs to it too.
    is_deep: bool,
    owners: Vec<String>,
}

impl Owners {
    /// Reads the rules. A line that is none is passed over, as the hosts do.
    pub fn read(text: &str) -> Self {
        Self {
            rules: text.lines().filter_map(rule).collect(),
        }
    }

    /// The owners of the first `CODEOWNERS` of a repository.
    pub fn of(root: &std::path::Path) -> Self {
        let text = PLACES
            .iter()
            .find_map(|place| std::fs::read_to_string(root.join(place)).ok());
        text.map_or_else(Self::default, |text| Self::read(&text))
    }

    /// The owners of a file, by its path from the root. Nobody, if no rule matches or the last one
    /// that does names nobody.
    pub fn of_path(&self, path: &str) -> &[String] {
        let matching = self.rules.iter().rev().find(|rule| rule.matches(path));
        matching.map_or(&[], |rule| &rule.owners)
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        let found = if self.is_deep {
            self.pattern.matched_path_or_any_parents(path, false)
        } else {
            self.pattern.matched(path, false)
        };
        found.is_ignore()
    }
}

fn rule(line: &str) -> Option<Rule> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    // Sections of GitLab are headings; negation and ranges are not part of the language.
    if line.is_empty() || line.starts_with(['#', '[', '^', '!']) {
        return None;
    }
    let line = line.replace("\\ ", "\0");
    let mut words = line
        .split_whitespace()
        .map(|word| word.replace('\0', "\\ "));
    let pattern = words.next()?;
    let mut builder = GitignoreBuilder::new("");
    builder.add_line(None, &pattern).ok()?;
    Some(Rule {
        pattern: builder.build().ok()?,
        is_deep: !pattern.ends_with("/*"),
        owners: words.collect(),
    })
}
