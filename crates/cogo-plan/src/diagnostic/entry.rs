//! A diagnostic that is being put together from lines.

use regex::{Captures, Regex};

use super::table::{Format, Requirement, Table};
use super::{Diagnostic, Note};

/// Messages that go on for longer are cut.
const MESSAGE_MAX: usize = 16 * 1024;
/// Further notes are left out.
const NOTES_MAX: usize = 50;

/// What is known so far, in the tool's words.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) file: Option<String>,
    line: Option<String>,
    column: Option<String>,
    end_line: Option<String>,
    end_column: Option<String>,
    severity: Option<String>,
    code: Option<String>,
    message: Option<String>,
    /// Further named groups, for the message's template.
    extra: Vec<(String, String)>,
    notes: Vec<Note>,
    /// Lines behind the first.
    pub(super) lines_taken: usize,
}

impl Draft {
    /// Takes what the groups of a pattern name. What is known stays, but a message goes on.
    pub(super) fn fill(&mut self, pattern: &Regex, captures: &Captures, join: Option<&str>) {
        for (name, value) in captured(pattern, captures) {
            let slot = match name {
                "file" => &mut self.file,
                "line" => &mut self.line,
                "column" => &mut self.column,
                "end_line" => &mut self.end_line,
                "end_column" => &mut self.end_column,
                "severity" => &mut self.severity,
                "code" => &mut self.code,
                "message" => {
                    self.add_to_message(value, join.unwrap_or("\n"));
                    continue;
                }
                "caret" => {
                    let column = (value.chars().count() + 1).to_string();
                    self.column.get_or_insert(column);
                    continue;
                }
                other => {
                    self.extra.push((other.to_owned(), value.to_owned()));
                    continue;
                }
            };
            if slot.is_none() {
                *slot = Some(value.trim().to_owned());
            }
        }
    }

    fn add_to_message(&mut self, more: &str, join: &str) {
        match &mut self.message {
            Some(message) if message.is_empty() => more.clone_into(message),
            Some(message) if message.len() < MESSAGE_MAX => {
                message.push_str(join);
                message.push_str(more);
            }
            Some(_) => {}
            None => self.message = Some(more.to_owned()),
        }
    }

    /// Takes a place: the diagnostic's own if it has none, else that of its last note.
    pub(super) fn locate(&mut self, pattern: &Regex, captures: &Captures) {
        if self.file.is_none() {
            self.fill(pattern, captures, None);
        } else if let Some(note) = self.notes.last_mut()
            && note.file.is_none()
        {
            place_note(note, captures);
        }
    }

    /// Takes a place instead of the one that is known, which becomes a note.
    pub(super) fn move_to(&mut self, pattern: &Regex, captures: &Captures) {
        if let Some(file) = self.file.take()
            && self.notes.len() < NOTES_MAX
        {
            self.notes.push(Note {
                message: "called from here".to_owned(),
                file: Some(file),
                line: number(self.line.as_deref()),
                column: number(self.column.as_deref()),
            });
        }
        self.line = None;
        self.column = None;
        self.fill(pattern, captures, None);
    }

    /// Takes a remark.
    pub(super) fn note(&mut self, captures: &Captures) {
        if self.notes.len() == NOTES_MAX {
            return;
        }
        let message = captures.name("message").map(|found| found.as_str());
        let mut note = Note {
            message: message.unwrap_or_default().trim().to_owned(),
            ..Note::default()
        };
        if let Some(code) = captures.name("code") {
            self.code.get_or_insert(code.as_str().to_owned());
        }
        place_note(&mut note, captures);
        self.notes.push(note);
    }

    /// Whether a file that was read could be one. Times of day look like files with lines.
    pub(super) fn is_plausible(&self) -> bool {
        self.file.as_deref().is_none_or(|file| {
            let path = file.trim();
            path.len() < 1024
                && (path.is_empty() || path.chars().any(|c| c.is_alphabetic() || c == '-'))
                && !path.contains("://")
        })
    }

    pub(super) fn has_message(&self) -> bool {
        let message = self.message.as_deref();
        message.is_some_and(|message| !message.trim().is_empty())
    }

    /// Whether the diagnostic has what its format requires.
    pub(super) fn satisfies(&self, format: &Format) -> bool {
        format.requires.iter().all(|requirement| match requirement {
            Requirement::File => self.file.is_some(),
            Requirement::Line => self.line.is_some(),
            Requirement::Code => self.code.is_some(),
            Requirement::Message => self.has_message(),
        })
    }

    /// The diagnostic.
    pub(super) fn finish(&mut self, table: &Table, place: usize) -> Diagnostic {
        let format = &table.formats[place];
        let word = self.severity.as_deref();
        let severity = word.and_then(|word| table.severity(format, word));
        Diagnostic {
            tool: format.name.clone(),
            file: self.file.clone().filter(|file| !file.is_empty()),
            line: number(self.line.as_deref()),
            column: number(self.column.as_deref()),
            end_line: number(self.end_line.as_deref()),
            end_column: number(self.end_column.as_deref()),
            severity: severity.unwrap_or(format.severity),
            code: self.code.clone().filter(|code| !code.is_empty()),
            message: self.whole_message(format),
            notes: std::mem::take(&mut self.notes),
            suggestions: Vec::new(),
        }
    }

    fn whole_message(&self, format: &Format) -> String {
        let message = self.message.as_deref().unwrap_or_default().trim();
        let Some(template) = &format.message else {
            return message.to_owned();
        };
        let mut text = template.replace("{message}", message);
        let known = [("code", &self.code), ("severity", &self.severity)];
        for (name, value) in known {
            text = text.replace(&format!("{{{name}}}"), value.as_deref().unwrap_or_default());
        }
        for (name, value) in &self.extra {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text.trim().to_owned()
    }
}

fn place_note(note: &mut Note, captures: &Captures) {
    let text = |name| captures.name(name).map(|found| found.as_str());
    note.file = text("file").map(str::to_owned);
    note.line = number(text("line"));
    note.column = number(text("column"));
}

fn number(text: Option<&str>) -> Option<u32> {
    text?.trim().parse().ok()
}

/// The groups that took part, by name. Digits at the end tell groups of one name apart.
fn captured<'a>(
    pattern: &'a Regex,
    captures: &'a Captures,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let names = pattern.capture_names().zip(captures.iter());
    names.filter_map(|(name, value)| {
        let name = name?.trim_end_matches(|c: char| c.is_ascii_digit());
        Some((name, value?.as_str()))
    })
}
