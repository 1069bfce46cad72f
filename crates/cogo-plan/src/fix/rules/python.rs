//! Rules for Python, its own messages and those of linters.

use super::symbols::definitions;
use super::{Candidate, Case, word_at};
use crate::fix::text;

/// Names of the standard library that are imported by themselves from a module.
const MEMBERS: &[(&str, &[&str])] = &[
    ("pathlib", &["Path", "PurePath"]),
    (
        "collections",
        &[
            "defaultdict",
            "Counter",
            "OrderedDict",
            "deque",
            "namedtuple",
            "ChainMap",
        ],
    ),
    ("dataclasses", &["dataclass", "field", "asdict"]),
    ("datetime", &["datetime", "timedelta", "date", "timezone"]),
    (
        "functools",
        &["partial", "reduce", "lru_cache", "wraps", "cached_property"],
    ),
    (
        "typing",
        &[
            "Any",
            "Optional",
            "Union",
            "List",
            "Dict",
            "Tuple",
            "Set",
            "Callable",
            "Iterable",
            "Iterator",
            "Sequence",
            "Mapping",
            "NamedTuple",
            "Protocol",
            "TypeVar",
            "Generic",
            "TypedDict",
            "Literal",
            "cast",
            "TYPE_CHECKING",
        ],
    ),
    ("enum", &["Enum", "IntEnum", "StrEnum", "auto"]),
    ("abc", &["ABC", "abstractmethod"]),
    (
        "contextlib",
        &["contextmanager", "suppress", "closing", "ExitStack"],
    ),
    ("decimal", &["Decimal"]),
    ("fractions", &["Fraction"]),
    ("io", &["StringIO", "BytesIO"]),
    (
        "itertools",
        &[
            "chain",
            "groupby",
            "product",
            "permutations",
            "combinations",
            "islice",
        ],
    ),
    ("unittest", &["TestCase"]),
    (
        "concurrent.futures",
        &["ThreadPoolExecutor", "ProcessPoolExecutor"],
    ),
];

/// Modules of the standard library.
const MODULES: &[&str] = &[
    "abc",
    "argparse",
    "array",
    "ast",
    "asyncio",
    "base64",
    "bisect",
    "calendar",
    "cmath",
    "collections",
    "concurrent",
    "configparser",
    "contextlib",
    "copy",
    "csv",
    "ctypes",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "email",
    "enum",
    "errno",
    "fnmatch",
    "fractions",
    "functools",
    "gc",
    "getpass",
    "glob",
    "gzip",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "http",
    "importlib",
    "inspect",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "locale",
    "logging",
    "math",
    "mimetypes",
    "multiprocessing",
    "numbers",
    "operator",
    "os",
    "pathlib",
    "pickle",
    "platform",
    "pprint",
    "queue",
    "random",
    "re",
    "secrets",
    "select",
    "shlex",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "stat",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "sys",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "timeit",
    "traceback",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "urllib",
    "uuid",
    "warnings",
    "weakref",
    "xml",
    "zipfile",
    "zlib",
];

pub(super) fn candidates(case: &Case) -> Vec<Candidate> {
    let message = case.message;
    let mut found = Vec::new();
    if message.contains("is not defined") || message.contains("ndefined name") {
        found.extend(import(case));
    }
    if message.contains("expected ':'") {
        found.extend(case.insert("add `:`", line_end(case), ":"));
    }
    if message.contains("was never closed") {
        found.extend(close(case));
    }
    if message.contains("Missing parentheses in call to 'print'") {
        found.extend(print(case));
    }
    if message.contains("instead of '='") {
        found.extend(compare(case));
    }
    if message.contains("positional argument") && message.contains("given") {
        found.extend(own_self(case));
    }
    if message.contains("unexpected indent") || message.contains("unindent does not match") {
        found.extend(indent(case));
    }
    if message.contains("expected an indented block") {
        found.extend(indent_block(case));
    }
    if message.contains("can only concatenate str") {
        found.extend(to_text(case));
    }
    if message.contains("unterminated string literal") {
        for quote in ["\"", "'"] {
            found.extend(case.insert("close the text", line_end(case), quote));
        }
    }
    found
}

/// Where the code of the line ends, before a comment.
fn line_end(case: &Case) -> usize {
    let line = case.line_text();
    let code = line.split(" #").next().unwrap_or(line);
    case.line_start() + code.trim_end().len()
}

/// Where an import belongs: behind what the file begins with.
fn import_place(text: &str) -> usize {
    let mut at = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    let mut in_text = false;
    while let Some(line) = lines.next_if(|line| {
        let begins_text = line.starts_with("\"\"\"") || line.starts_with("'''");
        let is_head = in_text || begins_text || line.starts_with('#') || line.trim().is_empty();
        is_head || line.starts_with("from __future__")
    }) {
        let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
        in_text ^= quotes % 2 == 1;
        at += line.len();
    }
    at
}

fn import(case: &Case) -> Vec<Candidate> {
    let Some(name) = case.quoted() else {
        return Vec::new();
    };
    let at = import_place(&case.text);
    let mut lines = Vec::new();
    for (module, members) in MEMBERS {
        if members.contains(&name) {
            lines.push(format!("from {module} import {name}"));
        }
    }
    if MODULES.contains(&name) {
        lines.push(format!("import {name}"));
    }
    let pattern = r"^(?:def|class|async def)\s+NAME\b|^NAME\s*(?::[^=]+)?=[^=]";
    for symbol in definitions(case, name, &["py"], pattern) {
        if symbol.file != case.file {
            let module = symbol.file.with_extension("");
            let parts = module
                .components()
                .map(|part| part.as_os_str().to_string_lossy());
            let module = parts
                .filter(|part| part != "__init__")
                .collect::<Vec<_>>()
                .join(".");
            lines.push(format!("from {module} import {name}"));
        }
    }
    let insert = |line: String| case.insert(format!("`{line}`"), at, format!("{line}\n"));
    lines.into_iter().filter_map(insert).collect()
}

fn close(case: &Case) -> Option<Candidate> {
    let closing = match case.quoted()? {
        "(" => ")",
        "[" => "]",
        "{" => "}",
        _ => return None,
    };
    case.insert(format!("add `{closing}`"), line_end(case), closing)
}

/// `print x` of Python 2.
fn print(case: &Case) -> Option<Candidate> {
    let line = case.line_text();
    let at = word_at(line, "print", 0)?;
    let values = line[at + "print".len()..].trim();
    let fixed = format!("{}print({values})", &line[..at]);
    case.replace_line("call `print`", fixed)
}

fn compare(case: &Case) -> Option<Candidate> {
    let line = case.line_text();
    let at = line.find(" = ")?;
    let start = case.line_start() + at + 1;
    case.replace("compare with `==`", start..start + 1, "==")
}

/// A method without `self`: `Counter.increase() takes 0 positional arguments but 1 was given`.
fn own_self(case: &Case) -> Option<Candidate> {
    let name = case.message.split("()").next()?.rsplit(['.', ' ']).next()?;
    let head = format!("def {name}(");
    let at = case.text.find(&head)? + head.len();
    let line = text::line(&case.text, text::line_of(&case.text, at))?;
    let is_method = line.starts_with([' ', '\t']) && !line.contains("(self");
    let has_more = !case.text[at..].trim_start().starts_with(')');
    let insert = if has_more { "self, " } else { "self" };
    is_method
        .then(|| case.insert("take `self`", at, insert))
        .flatten()
}

/// Indents the line like one before it: the last one, or one that it may belong to.
fn indent(case: &Case) -> Vec<Candidate> {
    let line = case.line_text();
    let before = case.text.get(..case.line_start()).unwrap_or_default();
    let mut indents: Vec<&str> = Vec::new();
    for line in before.lines().rev().filter(|line| !line.trim().is_empty()) {
        let indent = text::indentation(line);
        if !indents.contains(&indent) && indents.len() < 4 {
            indents.push(indent);
        }
    }
    let fixed = indents
        .into_iter()
        .map(|indent| format!("{indent}{}", line.trim_start()));
    fixed
        .filter_map(|fixed| case.replace_line("indent it like a line before it", fixed))
        .collect()
}

fn indent_block(case: &Case) -> Option<Candidate> {
    let line = case.line_text();
    let before = case.text.get(..case.line_start())?;
    let head = before.lines().rev().find(|line| !line.trim().is_empty())?;
    let fixed = format!("{}    {}", text::indentation(head), line.trim_start());
    case.replace_line("indent it", fixed)
}

/// `"a" + 1 + "b"`: makes a text of a name between two texts.
fn to_text(case: &Case) -> Vec<Candidate> {
    let line = case.line_text();
    let start = case.line_start();
    let mut found = Vec::new();
    let mut at = 0;
    for part in line.split(" + ") {
        let word = part.rsplit(['(', ' ', '=']).next().unwrap_or(part);
        let word = word.trim_end_matches([')', ',', ':']);
        let is_name = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let is_simple = word
            .chars()
            .all(|c| c.is_alphanumeric() || "_.".contains(c));
        if is_name
            && is_simple
            && let Some(offset) = part.rfind(word)
        {
            let range = start + at + offset..start + at + offset + word.len();
            found.extend(case.replace("make it a text", range, format!("str({word})")));
        }
        at += part.len() + " + ".len();
    }
    found
}
