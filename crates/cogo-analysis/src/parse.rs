//! From the text of a file to facts about it.
//!
//! tree-sitter parses, one query per language in `queries/` says what to find, and one engine,
//! [`extract`], makes facts of it. Texts are untrusted: time is bounded, trees are walked without
//! recursion, and a parser that panics costs its own file only.

mod extract;
mod grammar;
mod outline;
pub mod receiver;
mod use_tree;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tree_sitter::{ParseOptions, Parser, Tree};

use crate::facts::{Facts, Trouble};
use crate::language::Language;

/// Longest time spent on one text.
const TIME_MAX: Duration = Duration::from_secs(5);

thread_local! {
    static PARSERS: RefCell<HashMap<Language, Parser>> = RefCell::new(HashMap::new());
}

/// Finds what is in a text. Never fails: what was not understood is told in the facts.
pub fn parse(language: Language, text: &[u8]) -> Facts {
    let parsed = catch_unwind(AssertUnwindSafe(|| parse_unguarded(language, text)));
    parsed.unwrap_or_else(|_| empty(text, Trouble::Failure))
}

fn parse_unguarded(language: Language, text: &[u8]) -> Facts {
    let grammar = grammar::of(language);
    let deadline = Instant::now() + TIME_MAX;
    let Some(tree) = tree(grammar, language, text, deadline) else {
        return empty(text, Trouble::TimeLimit);
    };
    let facts = extract::facts(grammar, language, text, &tree, deadline);
    let mut facts = facts.unwrap_or_else(|| empty(text, Trouble::TimeLimit));
    facts.lines = line_count(text);
    if facts.trouble.is_none() && tree.root_node().has_error() {
        facts.trouble = Some(Trouble::Syntax);
    }
    facts
}

fn tree(
    grammar: &grammar::Grammar,
    language: Language,
    text: &[u8],
    deadline: Instant,
) -> Option<Tree> {
    PARSERS.with_borrow_mut(|parsers| {
        let parser = parsers.entry(language).or_insert_with(|| {
            let mut parser = Parser::new();
            parser
                .set_language(&grammar.language)
                .expect("the grammars are of a version this tree-sitter reads");
            parser
        });
        let mut is_late = |_: &tree_sitter::ParseState| {
            if Instant::now() < deadline {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let options = ParseOptions::new().progress_callback(&mut is_late);
        let mut read = |at: usize, _| text.get(at..).unwrap_or_default();
        let tree = parser.parse_with_options(&mut read, None, Some(options));
        // Without this the next text would go on where this one stopped.
        parser.reset();
        tree
    })
}

fn empty(text: &[u8], trouble: Trouble) -> Facts {
    Facts {
        lines: line_count(text),
        trouble: Some(trouble),
        ..Facts::default()
    }
}

fn line_count(text: &[u8]) -> u32 {
    let breaks = memchr::memchr_iter(b'\n', text).count();
    let unfinished = !text.is_empty() && !text.ends_with(b"\n");
    u32::try_from(breaks + usize::from(unfinished)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
