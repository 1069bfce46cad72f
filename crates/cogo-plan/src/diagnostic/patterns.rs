//! Diagnostics from text: lines matched against the table.
//!
//! One diagnostic at most is open. A line that belongs to it adds to it; any other line closes it. One
//! that closes without what its format requires was misread: its lines are read again without that
//! format.

use std::collections::{BTreeSet, VecDeque};

use regex::Captures;

use super::Diagnostic;
use super::entry::Draft;
use super::table::{Follow, Format, Role, Table};

/// Patterns see this much of a line. Tools do not write places behind it.
const LINE_MAX: usize = 16 * 1024;
/// How far back a format looks for what stands before its first line.
const MEMORY: usize = 3;
/// How many lines may pass until a diagnostic has what its format requires.
const PATIENCE: usize = 80;

/// Reads the lines of one stream.
#[derive(Debug)]
pub(super) struct Patterns {
    table: &'static Table,
    /// Programs named in the command.
    programs: Vec<String>,
    open: Option<Open>,
    /// The lines before this one, the latest last.
    memory: VecDeque<String>,
    /// The file that a heading named, for the format that looks for headings.
    heading: Option<(usize, String)>,
    /// Formats that have found something.
    told: BTreeSet<&'static str>,
    /// The format and line of the last finding.
    last_place: (usize, u32),
}

/// A diagnostic whose last line may be still to come.
#[derive(Debug)]
struct Open {
    format: usize,
    draft: Draft,
    /// Its lines, until it has what its format requires.
    lines: Vec<String>,
    /// Formats that have misread its first line.
    excluded: Vec<usize>,
    /// Whether another program's prefix was removed from the first line.
    prefixed: bool,
    /// What was to be told has been told, in a pause. The rest of its lines is swallowed.
    told: bool,
}

/// What became of a line that was offered to the open diagnostic.
enum Taken {
    Yes,
    Last,
    No,
}

impl Patterns {
    pub(super) fn new(programs: Vec<String>) -> Self {
        Self {
            table: Table::get(),
            programs,
            open: None,
            memory: VecDeque::new(),
            heading: None,
            told: BTreeSet::new(),
            last_place: (usize::MAX, 0),
        }
    }

    /// Reads a line.
    pub(super) fn line(&mut self, line: &str, out: &mut Vec<Diagnostic>) {
        let line = bounded(line);
        loop {
            match self.offer(line) {
                Taken::Yes => break,
                Taken::Last => {
                    self.close(out);
                    break;
                }
                // Closing may bring up another reading of the same lines, which may go on.
                Taken::No if self.open.is_some() => self.close(out),
                Taken::No => {
                    self.begin(line, &[], out);
                    break;
                }
            }
        }
        self.remember(line);
    }

    /// Tells what is open, because the output pauses.
    pub(super) fn idle(&mut self, out: &mut Vec<Diagnostic>) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        if !open.told && open.draft.satisfies(&self.table.formats[open.format]) {
            open.told = true;
            self.tell(&mut open.draft, open.format, out);
        }
        self.open = Some(open);
    }

    /// Tells what is open, because there will be no more output.
    pub(super) fn finish(&mut self, out: &mut Vec<Diagnostic>) {
        while self.open.is_some() {
            self.close(out);
        }
    }

    /// Offers a line to the open diagnostic.
    fn offer(&mut self, line: &str) -> Taken {
        let Some(open) = &mut self.open else {
            return Taken::No;
        };
        let format = &self.table.formats[open.format];
        let stripped = if open.prefixed {
            self.table.without_prefix(line).unwrap_or(line)
        } else {
            line
        };
        let found = format
            .follow
            .iter()
            .filter(|follow| follow.role != Role::Message || !open.draft.has_message())
            .find_map(|follow| Some((follow, follow.pattern.captures(stripped)?)));
        let Some((follow, captures)) = found else {
            return Taken::No;
        };
        if open.draft.lines_taken >= PATIENCE && !open.draft.satisfies(format) {
            return Taken::No;
        }
        open.take(line, follow, &captures);
        match follow.role {
            Role::End => Taken::Last,
            Role::Ignore
            | Role::Continuation
            | Role::Location
            | Role::Frame
            | Role::Note
            | Role::Message => Taken::Yes,
        }
    }

    /// Tells the open diagnostic, or reads its lines again when it was none.
    fn close(&mut self, out: &mut Vec<Diagnostic>) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let format = &self.table.formats[open.format];
        if open.draft.satisfies(format) {
            if !open.told {
                self.tell(&mut open.draft, open.format, out);
            }
            return;
        }
        open.excluded.push(open.format);
        let mut lines = open.lines.into_iter();
        if let Some(first) = lines.next() {
            self.begin(&first, &open.excluded, out);
        }
        for line in lines {
            self.line(&line, out);
        }
    }

    /// Looks for a format whose first line this is.
    fn begin(&mut self, line: &str, excluded: &[usize], out: &mut Vec<Diagnostic>) {
        if let Some(stripped) = self.table.without_prefix(line)
            && self.begin_as(line, stripped, excluded, out)
        {
            return;
        }
        self.begin_as(line, line, excluded, out);
    }

    fn begin_as(
        &mut self,
        line: &str,
        read: &str,
        excluded: &[usize],
        out: &mut Vec<Diagnostic>,
    ) -> bool {
        if !self.table.starts.is_match(read.as_bytes()) {
            return false;
        }
        for (place, index) in self.candidates(read) {
            if excluded.contains(&place) {
                continue;
            }
            let format = &self.table.formats[place];
            let Some(captures) = format.starts[index].captures(read) else {
                continue;
            };
            let Some(draft) = self.draft((place, index), format, &captures) else {
                continue;
            };
            self.start(place, draft, line, read, excluded, out);
            return true;
        }
        false
    }

    /// The formats whose first line this may be; those that the command names first.
    fn candidates(&self, line: &str) -> Vec<(usize, usize)> {
        let found = self.table.starts.matches(line.as_bytes());
        let mut found: Vec<_> = found.iter().map(|i| self.table.owners[i]).collect();
        found.sort_by_key(|(place, _)| {
            let commands = &self.table.formats[*place].commands;
            !commands.iter().any(|name| self.programs.contains(name))
        });
        found
    }

    /// Tells a diagnostic, unless its format says that it is none of its own.
    fn tell(&mut self, draft: &mut Draft, place: usize, out: &mut Vec<Diagnostic>) {
        let format = &self.table.formats[place];
        if format.skip || format.fallback && self.told.contains(format.name.as_str()) {
            return;
        }
        let found = draft.finish(self.table, place);
        let line = found.line.unwrap_or_default();
        let same_place = self.last_place == (place, line);
        self.last_place = (place, line);
        if !(format.once_a_line && same_place) {
            self.told.insert(&format.name);
            out.push(found);
        }
    }

    /// A diagnostic with what its first line and the lines before say. None if they contradict.
    fn draft(
        &mut self,
        (place, index): (usize, usize),
        format: &Format,
        captures: &Captures,
    ) -> Option<Draft> {
        let mut draft = Draft::default();
        draft.fill(&format.starts[index], captures, None);
        if !draft.is_plausible() {
            return None;
        }
        if !format.before.is_empty() {
            let before = format.before.iter();
            let mut pairs = before.zip(self.memory.iter().rev());
            if !pairs.all(|(pattern, line)| {
                let captures = pattern.captures(line);
                captures
                    .map(|captures| draft.fill(pattern, &captures, None))
                    .is_some()
            }) || self.memory.len() < format.before.len()
            {
                return None;
            }
        }
        if let Some(pattern) = &format.heading {
            draft.file = Some(self.heading(place, pattern)?);
        }
        Some(draft)
    }

    /// The file that stands over the findings. It is looked for in the lines right before, and then
    /// holds until there is another.
    fn heading(&mut self, place: usize, pattern: &regex::Regex) -> Option<String> {
        let named = self.memory.iter().rev().find_map(|line| {
            let captures = pattern.captures(line)?;
            Some(captures.name("file")?.as_str().to_owned())
        });
        if let Some(file) = named {
            self.heading = Some((place, file));
        }
        let (owner, file) = self.heading.as_ref()?;
        (*owner == place).then(|| file.clone())
    }

    fn start(
        &mut self,
        place: usize,
        mut draft: Draft,
        line: &str,
        read: &str,
        excluded: &[usize],
        out: &mut Vec<Diagnostic>,
    ) {
        let format = &self.table.formats[place];
        if format.follow.is_empty() {
            if draft.satisfies(format) {
                self.tell(&mut draft, place, out);
            }
            return;
        }
        self.open = Some(Open {
            format: place,
            draft,
            lines: vec![line.to_owned()],
            excluded: excluded.to_vec(),
            prefixed: read.len() != line.len(),
            told: false,
        });
    }

    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        // The oldest one's memory is used again: most lines are only ever remembered.
        let full = self.memory.len() == MEMORY;
        let oldest = full.then(|| self.memory.pop_front()).flatten();
        let mut kept = oldest.unwrap_or_default();
        line.clone_into(&mut kept);
        self.memory.push_back(kept);
    }
}

impl Open {
    /// Adds a line.
    fn take(&mut self, line: &str, follow: &Follow, captures: &Captures) {
        if self.lines.len() <= PATIENCE {
            self.lines.push(line.to_owned());
        }
        self.draft.lines_taken += 1;
        match follow.role {
            Role::Ignore => {}
            Role::Continuation | Role::Message | Role::End => {
                self.draft
                    .fill(&follow.pattern, captures, follow.join.as_deref());
            }
            Role::Frame => self.draft.move_to(&follow.pattern, captures),
            Role::Location => self.draft.locate(&follow.pattern, captures),
            Role::Note => self.draft.note(captures),
        }
    }
}

/// The part of a line that patterns see.
fn bounded(line: &str) -> &str {
    &line[..line.floor_char_boundary(LINE_MAX)]
}
