//! The Test Anything Protocol, with the subtests and details that `node --test` adds.

use super::collection::Collection;
use super::parser::Format;
use super::{TestKey, TestResult, TestStatus, TestTool};

#[derive(Debug, Default)]
pub(super) struct Tap {
    /// A line that only TAP has was seen.
    is_begun: bool,
    /// Subtests that have begun, each with its indentation.
    open: Vec<(usize, String)>,
    /// The last result, with the block of details behind it.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    result: TestResult,
    /// Lines of its block; nothing before it begins.
    details: Option<String>,
    /// It is a group: its tests have told their results.
    is_group: bool,
}

impl Format for Tap {
    fn tool(&self) -> TestTool {
        TestTool::Tap
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        let body = line.trim_start();
        if self.details(body) {
            if body == "..." {
                self.close(into);
            }
            return true;
        }
        self.close(into);
        let indent = line.len() - body.len();
        if body.starts_with("TAP version ") || is_plan(body) {
            self.is_begun = true;
            return true;
        }
        if let Some(name) = body.strip_prefix("# Subtest: ") {
            self.is_begun = true;
            self.leave(indent);
            self.open.push((indent, unescaped(name)));
            into.began(self.path(None));
            return true;
        }
        self.result(indent, body, into)
    }

    fn finish(&mut self, into: &mut Collection) {
        self.close(into);
    }
}

impl Tap {
    fn result(&mut self, indent: usize, body: &str, into: &mut Collection) -> bool {
        let Some(told) = told(body) else { return false };
        if !self.is_begun && !told.is_numbered {
            return false;
        }
        self.is_begun = true;
        // What was begun deeper belongs to this one; what was begun here is this one.
        let is_group = self.open.iter().any(|(its, _)| *its > indent);
        while self.open.last().is_some_and(|(its, _)| *its > indent) {
            self.open.pop();
        }
        let is_open = self.open.last().is_some_and(|(its, _)| *its == indent);
        let key = if is_open {
            self.path(None)
        } else {
            self.path(Some(&told.name))
        };
        let result = TestResult::new(key, told.status).message(told.reason);
        into.began(result.key.clone());
        if is_open {
            self.open.pop();
        }
        self.last = Some(Last {
            result,
            details: None,
            is_group,
        });
        true
    }

    /// A line of the block behind a result. Whether it is one.
    fn details(&mut self, body: &str) -> bool {
        let Some(last) = &mut self.last else {
            return false;
        };
        match (&mut last.details, body) {
            (None, "---") => last.details = Some(String::new()),
            (Some(_), "...") => return true,
            (Some(details), _) if !is_result(body) && !body.starts_with("# Subtest: ") => {
                details.push_str(body);
                details.push('\n');
            }
            (None | Some(_), _) => return false,
        }
        true
    }

    fn close(&mut self, into: &mut Collection) {
        let Some(last) = self.last.take() else { return };
        let details = last.details.unwrap_or_default();
        let key = last.result.key.clone();
        if value(&details, "type").as_deref() == Some("suite")
            || last.is_group && value(&details, "failureType").as_deref() == Some("subtestsFailed")
        {
            into.forget(&key);
            return;
        }
        let duration = value(&details, "duration_ms").and_then(|text| text.parse().ok());
        let is_failure = !last.result.status.is_good();
        into.ended(last.result.took(duration));
        if is_failure {
            let message = value(&details, "error").or_else(|| value(&details, "message"));
            into.explain(&key, message.as_deref(), &details);
        }
    }

    fn leave(&mut self, indent: usize) {
        while self.open.last().is_some_and(|(its, _)| *its >= indent) {
            self.open.pop();
        }
    }

    fn path(&self, leaf: Option<&str>) -> TestKey {
        let groups = self.open.iter().map(|(_, name)| &**name);
        let path: Vec<&str> = groups.chain(leaf).collect();
        TestKey::new("", path.join(" > "))
    }
}

/// One `ok` or `not ok` line.
struct Told<'a> {
    status: TestStatus,
    name: String,
    reason: Option<&'a str>,
    is_numbered: bool,
}

fn is_result(body: &str) -> bool {
    body.starts_with("ok ") || body.starts_with("not ok ")
}

fn told(body: &str) -> Option<Told<'_>> {
    let (is_ok, rest) = match body.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, body.strip_prefix("ok")?),
    };
    // `ok  	package	0.1s` is what `go test` says.
    let rest = rest.strip_prefix(' ')?;
    let number_end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let name = rest[number_end..].trim_start();
    let name = name.strip_prefix("- ").unwrap_or(name);
    let (name, directive) = match name.rsplit_once(" # ").or_else(|| name.rsplit_once("# ")) {
        Some((name, directive)) => (name, Some(directive)),
        None => (name, None),
    };
    let word = directive.map(|directive| directive.trim().to_ascii_uppercase());
    let is_excused = word.is_some_and(|word| word.starts_with("SKIP") || word.starts_with("TODO"));
    Some(Told {
        status: match (is_excused, is_ok) {
            (true, _) => TestStatus::Skipped,
            (false, true) => TestStatus::Passed,
            (false, false) => TestStatus::Failed,
        },
        name: unescaped(name.trim()),
        reason: directive
            .and_then(|text| text.trim().split_once(' '))
            .map(|(_, why)| why),
        is_numbered: number_end > 0,
    })
}

fn is_plan(body: &str) -> bool {
    body.strip_prefix("1..").is_some_and(|rest| {
        let number = rest.split(' ').next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn unescaped(name: &str) -> String {
    name.replace("\\#", "#").replace("\\\\", "\\")
}

/// A field of the block of details: `error: 'boom'`, or the first line of `error: |-`.
fn value(details: &str, name: &str) -> Option<String> {
    let mut lines = details.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let rest = rest.trim();
    if rest.starts_with('|') || rest.starts_with('>') {
        return lines.next().map(|line| line.trim().to_owned());
    }
    Some(rest.trim_matches(|c| c == '\'' || c == '"').to_owned())
}
