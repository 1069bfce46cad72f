//! Flags of known tools in a command line.
//!
//! A line for the shell is not parsed: its words are looked at where they stand, and a word that is
//! quoted is left alone. What is missed here has one processor as its last step.

use super::tools::{Behind, TOOLS, Tool};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// The tools that are named, each once.
    pub(super) tools: Vec<&'static Tool>,
    /// Whether a word was changed.
    pub(super) changed: bool,
}

/// Rewrites program and arguments; of a shell with a line, the line.
pub(super) fn in_argv(argv: &[String]) -> (Vec<String>, Rewritten) {
    if let [shell, flag, line, rest @ ..] = argv
        && matches!(base(shell), "sh" | "bash" | "dash")
        && matches!(flag.as_str(), "-c" | "-ec" | "-lc")
    {
        let (line, rewritten) = in_line(line);
        let mut argv = vec![shell.clone(), flag.clone(), line];
        argv.extend_from_slice(rest);
        return (argv, rewritten);
    }
    let words = argv.iter().map(|word| Word {
        text: word.clone(),
        space: String::new(),
    });
    let (words, rewritten) = rewrite(words.collect());
    (words.into_iter().map(|word| word.text).collect(), rewritten)
}

/// Rewrites a line for the shell.
pub(super) fn in_line(line: &str) -> (String, Rewritten) {
    let (words, rewritten) = rewrite(split(line));
    let line = words.into_iter().map(|word| word.text + &word.space);
    (line.collect(), rewritten)
}

/// A word with the white space behind it.
#[derive(Debug)]
struct Word {
    text: String,
    space: String,
}

fn split(line: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for character in line.chars() {
        match words.last_mut() {
            Some(word) if character.is_whitespace() => word.space.push(character),
            Some(word) if word.space.is_empty() => word.text.push(character),
            Some(_) | None => words.push(Word {
                text: character.to_string(),
                space: String::new(),
            }),
        }
    }
    words
}

fn rewrite(words: Vec<Word>) -> (Vec<Word>, Rewritten) {
    let mut found = Rewritten::default();
    let mut current: Option<&'static Tool> = None;
    let mut done: Vec<Word> = Vec::with_capacity(words.len());
    // Where a flag goes if the current tool turns out to have none.
    let mut missing: Option<(usize, &'static str)> = None;
    let mut is_told = false;
    let mut rest = words.into_iter().peekable();
    while let Some(mut word) = rest.next() {
        let text = word.text.clone();
        let (text, end) = without_separator(&text);
        let mut end = end.to_owned();
        if let Some(tool) = tool(text) {
            insert(&mut done, missing.take(), &mut found);
            current = Some(tool);
            if !found.tools.contains(&tool) {
                found.tools.push(tool);
            }
            missing = behind(tool, Behind::Name, done.len());
            is_told = false;
        } else if let Some(tool) = current {
            let value = (rest.peek()).map(|next| without_separator(&next.text).0);
            match flag(tool, text, value.filter(|value| is_number(value))) {
                Some(Flag { is_one: true, .. }) => {
                    missing = None;
                    is_told = true;
                }
                Some(Flag {
                    text, takes_value, ..
                }) => {
                    if takes_value && let Some(value) = rest.next() {
                        without_separator(&value.text).1.clone_into(&mut end);
                        word.space = value.space;
                    }
                    word.text = text + &end;
                    missing = None;
                    is_told = true;
                    found.changed = true;
                }
                None if is_told => {}
                None => missing = missing.or_else(|| flagged(tool, text, done.len())),
            }
        }
        let ends = !end.is_empty() || matches!(text, "&&" | "||" | "|" | "&" | ";");
        let broken = word.space.contains('\n');
        done.push(word);
        if ends || broken {
            insert(&mut done, missing.take(), &mut found);
            current = None;
        }
    }
    insert(&mut done, missing, &mut found);
    (done, found)
}

fn behind(tool: &Tool, place: Behind, index: usize) -> Option<(usize, &'static str)> {
    (tool.insert)
        .filter(|(behind, _)| *behind == place)
        .map(|(_, flag)| (index, flag))
}

fn flagged(tool: &Tool, text: &str, index: usize) -> Option<(usize, &'static str)> {
    match tool.insert {
        Some((Behind::Flag(name), flag)) if name == text => Some((index, flag)),
        Some(_) | None => None,
    }
}

/// Puts a flag behind a word that is there.
fn insert(done: &mut Vec<Word>, missing: Option<(usize, &'static str)>, found: &mut Rewritten) {
    let Some((index, flag)) = missing else { return };
    let Some(word) = done.get_mut(index) else {
        return;
    };
    let (text, end) = without_separator(&word.text);
    let behind = Word {
        text: format!("{flag}{end}"),
        space: std::mem::replace(&mut word.space, " ".to_owned()),
    };
    word.text = text.to_owned();
    done.insert(index + 1, behind);
    found.changed = true;
}

struct Flag {
    text: String,
    takes_value: bool,
    /// Whether it says one already.
    is_one: bool,
}

/// What a word becomes if it is a flag for how much runs at once. `value` is the number that
/// follows.
fn flag(tool: &Tool, text: &str, value: Option<&str>) -> Option<Flag> {
    for (name, one) in tool.short {
        let rest = text.strip_prefix(name);
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || is_number(rest)) {
            return Some(Flag {
                text: (*one).to_owned(),
                takes_value: value.is_some() && rest.is_empty(),
                is_one: rest == "1" || (rest.is_empty() && value == Some("1")),
            });
        }
    }
    for name in tool.long {
        let rest = text.strip_prefix(name);
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('=')) {
            return Some(Flag {
                text: format!("{name}=1"),
                takes_value: value.is_some() && rest.is_empty(),
                is_one: rest == "=1" || (rest.is_empty() && value == Some("1")),
            });
        }
    }
    None
}

/// Whether it says how many: digits, as Maven has it with a `C`, a word for all, or something that
/// the shell fills in.
fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(['C', '%']);
    let counts = |text: &str| {
        !text.is_empty() && (text.bytes()).all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    counts(digits)
        || matches!(text, "auto" | "logical" | "max")
        || text.starts_with(['$', '`'])
        || text.starts_with("\"$")
}

fn tool(text: &str) -> Option<&'static Tool> {
    let name = base(text.trim_start_matches('('));
    TOOLS.iter().find(|tool| tool.names.contains(&name))
}

fn base(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

/// A word and the separator that stands right behind it.
fn without_separator(text: &str) -> (&str, &str) {
    let word = text.trim_end_matches([';', '&', '|']);
    if word.is_empty() {
        return (text, "");
    }
    (word, &text[word.len()..])
}
