//! How right the analysis is, against programs that nobody here wrote, on sources that nobody here
//! wrote.
//!
//! ```text
//! cargo run --release -p cogo-analysis --example accuracy -- definitions FOLDER…
//! cargo run --release -p cogo-analysis --example accuracy -- calls FOLDER…
//! ```
//!
//! `definitions` compares with universal-ctags, file by file: a definition is a name on a line.
//! `calls` compares with Python's `ast`: a call is a name on a line. `scripts/accuracy.sh` fetches
//! sources and runs both.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cogo_analysis::facts::{Facts, Kind, Use};
use cogo_analysis::language::Language;
use cogo_analysis::parse::parse;
use cogo_analysis::scan::{Origin, scan};

/// A name on a line of a file.
type Spot = (PathBuf, u32, String);

/// Found alike, by us alone, by the other alone.
#[derive(Default)]
struct Score {
    same: usize,
    ours: Vec<Spot>,
    theirs: Vec<Spot>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().context("say `definitions` or `calls`")?;
    let (folders, options): (Vec<String>, Vec<String>) =
        arguments.partition(|argument| !argument.starts_with("--"));
    let shows = options.iter().any(|option| option == "--show");
    let mut files = Vec::new();
    for folder in &folders {
        let root = std::fs::canonicalize(folder).with_context(|| format!("no `{folder}`"))?;
        let found = scan(&root, &AtomicBool::new(false));
        files.extend(found.into_iter().map(|file| file.location));
    }
    let sources = read(&files);
    match &*what {
        "definitions" => definitions(&sources, shows),
        "calls" => calls(&sources, shows),
        "speed" => speed(&sources),
        other => bail!("`{other}` is neither `definitions`, `calls` nor `speed`"),
    }
}

struct Source {
    path: PathBuf,
    language: Language,
    text: Vec<u8>,
}

/// Sources of people, in a language, by path.
fn read(files: &[PathBuf]) -> Vec<Source> {
    let read = |path: &PathBuf| {
        let text = std::fs::read(path).ok()?;
        let shown = path.to_string_lossy();
        let language = Language::detect(path, &text)?;
        let is_source = Origin::detect(&shown, &text) == Origin::Source && text.len() < 1 << 20;
        is_source.then(|| Source {
            path: path.clone(),
            language,
            text,
        })
    };
    files.iter().filter_map(read).collect()
}

/// The language as ctags calls it, and the letters of the kinds that are compared.
fn ctags_kinds(language: Language) -> Option<(&'static str, &'static str)> {
    Some(match language {
        Language::Rust => ("Rust", "nsgifPMmetv"),
        Language::Python => ("Python", "cfm"),
        Language::Go => ("Go", "fcvtsimMna"),
        Language::TypeScript | Language::Tsx => ("TypeScript", "fcimngGe"),
        Language::Java => ("Java", "acegifm"),
        Language::C => ("C", "dgsutfmev"),
        _ => return None,
    })
}

/// Whether ctags 5.9 has this definition among those compared. It leaves out, and we do not:
///
/// - Rust: fields of variants, constants of types and functions;
/// - Go: what is inside of functions;
/// - Java: methods and fields of anonymous classes;
/// - TypeScript: functions in constants and objects. Of overloads it lists some, so that there a
///   name counts once a file.
/// - Python: variables are compared by neither.
fn is_compared(language: Language, facts: &Facts, index: usize) -> bool {
    let definition = &facts.definitions[index];
    let kind = definition.kind;
    let parent = definition
        .parent
        .map(|parent| facts.definitions[parent as usize].kind);
    let around = std::iter::successors(definition.parent, |index| {
        facts.definitions[*index as usize].parent
    });
    let in_function = || {
        around
            .clone()
            .any(|index| facts.definitions[index as usize].kind.is_callable())
    };
    match language {
        Language::Python => matches!(kind, Kind::Class | Kind::Function | Kind::Method),
        Language::Rust => match kind {
            Kind::Field => parent != Some(Kind::Variant),
            Kind::Constant => {
                definition.owner.is_none() && parent.is_none_or(|parent| parent == Kind::Module)
            }
            _ => true,
        },
        // Fields of a struct without a name, too.
        Language::Go => {
            !in_function() && (kind != Kind::Field || parent.is_some_and(Kind::is_type))
        }
        Language::Java => !in_function(),
        Language::TypeScript | Language::Tsx => match kind {
            Kind::Class | Kind::Interface | Kind::Enum | Kind::Variant | Kind::Module => true,
            Kind::Function => definition.signature.contains("function"),
            Kind::Method => parent == Some(Kind::Interface) || parent.is_some_and(Kind::is_type),
            _ => false,
        },
        _ => kind != Kind::Test,
    }
}

fn definitions(sources: &[Source], shows: bool) -> Result<()> {
    println!(
        "{:<12} {:>6} {:>8} {:>9} {:>7} {:>9} {:>9}",
        "language", "files", "same", "precision", "recall", "only ours", "only ctags"
    );
    let mut by_tags: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        if let Some((tags, _)) = ctags_kinds(source.language) {
            by_tags.entry(tags).or_default().push(source);
        }
    }
    for (tags, sources) in by_tags {
        let (_, kinds) = ctags_kinds(sources[0].language).context("it was there")?;
        let mut theirs = ctags(tags, kinds, &sources)?;
        let mut ours = BTreeSet::new();
        let mut broken = BTreeSet::new();
        for source in &sources {
            let facts = parse(source.language, &source.text);
            if facts.trouble.is_some() {
                broken.insert(source.path.clone());
            }
            ours.extend(our_definitions(source, &facts));
        }
        if tags == "TypeScript" {
            for spots in [&mut ours, &mut theirs] {
                *spots = std::mem::take(spots)
                    .into_iter()
                    .map(|(path, _, name)| (path, 0, name))
                    .collect();
            }
        }
        let score = compare(&ours, &theirs);
        report(tags, sources.len(), &score, shows);
        if !broken.is_empty() {
            println!(
                "  {} files with syntax that the grammar does not know are counted too",
                broken.len()
            );
        }
    }
    Ok(())
}

fn our_definitions(source: &Source, facts: &Facts) -> Vec<Spot> {
    let compared = (0..facts.definitions.len())
        .filter(|index| is_compared(source.language, facts, *index))
        .map(|index| &facts.definitions[index]);
    compared
        .map(|definition| {
            (
                source.path.clone(),
                definition.line,
                facts.name(definition.name).to_owned(),
            )
        })
        .collect()
}

fn ctags(language: &str, kinds: &str, sources: &[&Source]) -> Result<BTreeSet<Spot>> {
    let mut child = Command::new("ctags")
        .args([
            "-x",
            "--_xformat=%N\t%n\t%F",
            "--sort=no",
            "-L",
            "-",
            "-f",
            "-",
        ])
        .arg(format!("--language-force={language}"))
        .arg(format!("--kinds-{language}={kinds}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to run `ctags`; install universal-ctags")?;
    let list: String = sources
        .iter()
        .map(|source| format!("{}\n", source.path.display()))
        .collect();
    let mut stdin = child.stdin.take().context("it has a pipe")?;
    let writer = std::thread::spawn(move || stdin.write_all(list.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().expect("it does not panic")?;
    let mut spots = BTreeSet::new();
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line = String::from_utf8_lossy(line);
        let mut parts = line.split('\t');
        let (Some(name), Some(Ok(line)), Some(path)) = (
            parts.next(),
            parts.next().map(str::parse::<u32>),
            parts.next(),
        ) else {
            continue;
        };
        // ctags makes up names for what has none.
        if !name.starts_with("__anon") && !name.starts_with("anonymous") {
            spots.insert((PathBuf::from(path), line, name.to_owned()));
        }
    }
    Ok(spots)
}

fn compare(ours: &BTreeSet<Spot>, theirs: &BTreeSet<Spot>) -> Score {
    Score {
        same: ours.intersection(theirs).count(),
        ours: ours.difference(theirs).cloned().collect(),
        theirs: theirs.difference(ours).cloned().collect(),
    }
}

fn report(name: &str, files: usize, score: &Score, shows: bool) {
    let share = |more: usize| score.same as f64 / (score.same + more).max(1) as f64;
    println!(
        "{name:<12} {files:>6} {:>8} {:>9.4} {:>7.4} {:>9} {:>9}",
        score.same,
        share(score.ours.len()),
        share(score.theirs.len()),
        score.ours.len(),
        score.theirs.len()
    );
    if shows {
        for (title, spots) in [("only ours", &score.ours), ("only theirs", &score.theirs)] {
            let step = (spots.len() / 25).max(1);
            for (path, line, name) in spots.iter().step_by(step).take(25) {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let code = text
                    .lines()
                    .nth((*line as usize).saturating_sub(1))
                    .unwrap_or("");
                println!(
                    "  {title}: {name}   {}:{line}: {}",
                    path.display(),
                    code.trim()
                );
            }
        }
    }
}

/// Calls that Python's own parser sees.
const PYTHON_CALLS: &str = r#"
import ast, json, sys
for path in sys.stdin.read().splitlines():
    try:
        tree = ast.parse(open(path, "rb").read())
    except (SyntaxError, ValueError, RecursionError):
        print(json.dumps([path])); continue
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            f = node.func
            if isinstance(f, ast.Name): print(json.dumps([path, f.lineno, f.id]))
            elif isinstance(f, ast.Attribute): print(json.dumps([path, f.end_lineno, f.attr]))
"#;

fn calls(sources: &[Source], shows: bool) -> Result<()> {
    println!(
        "{:<12} {:>6} {:>8} {:>9} {:>7} {:>9} {:>9}",
        "calls", "files", "same", "precision", "recall", "only ours", "only theirs"
    );
    let python: Vec<&Source> = sources
        .iter()
        .filter(|source| source.language == Language::Python)
        .collect();
    if !python.is_empty() {
        let (theirs, unread) =
            spots_of(Command::new("python3").args(["-c", PYTHON_CALLS]), &python)?;
        compare_calls("Python", &python, &theirs, &unread, shows);
    }
    let scripts: Vec<&Source> = sources
        .iter()
        .filter(|source| matches!(source.language, Language::TypeScript | Language::Tsx))
        .collect();
    if !scripts.is_empty() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/typescript_calls.js");
        let (theirs, unread) = spots_of(Command::new("node").arg(script), &scripts)?;
        compare_calls("TypeScript", &scripts, &theirs, &unread, shows);
    }
    Ok(())
}

fn compare_calls(
    name: &str,
    sources: &[&Source],
    theirs: &BTreeSet<Spot>,
    unread: &BTreeSet<PathBuf>,
    shows: bool,
) {
    let mut ours = BTreeSet::new();
    for source in sources
        .iter()
        .filter(|source| !unread.contains(&source.path))
    {
        let facts = parse(source.language, &source.text);
        let calls = facts
            .references
            .iter()
            .filter(|found| found.kind == Use::Call);
        ours.extend(calls.map(|found| {
            (
                source.path.clone(),
                found.line,
                facts.name(found.name).to_owned(),
            )
        }));
    }
    report(
        name,
        sources.len() - unread.len(),
        &compare(&ours, theirs),
        shows,
    );
}

fn spots_of(
    command: &mut Command,
    sources: &[&Source],
) -> Result<(BTreeSet<Spot>, BTreeSet<PathBuf>)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let list: String = sources
        .iter()
        .map(|source| format!("{}\n", source.path.display()))
        .collect();
    let mut stdin = child.stdin.take().context("it has a pipe")?;
    let writer = std::thread::spawn(move || stdin.write_all(list.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().expect("it does not panic")?;
    if !output.status.success() {
        bail!("the other parser failed: {}", output.status);
    }
    let (mut spots, mut unread) = (BTreeSet::new(), BTreeSet::new());
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let row: Vec<serde_json::Value> = serde_json::from_slice(line)?;
        let path = PathBuf::from(row[0].as_str().context("a path")?);
        match row.get(1).and_then(serde_json::Value::as_u64) {
            Some(line) => {
                spots.insert((path, line as u32, row[2].as_str().unwrap_or("").to_owned()));
            }
            None => {
                unread.insert(path);
            }
        }
    }
    Ok((spots, unread))
}

/// How fast files are parsed on one core, beside ctags on the same files, by processor time.
fn speed(sources: &[Source]) -> Result<()> {
    println!(
        "{:<12} {:>6} {:>9} {:>10} {:>9} {:>10} {:>9}",
        "language", "files", "median", "files/s", "MB/s", "ctags f/s", "ratio"
    );
    let mut by_tags: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        if let Some((tags, _)) = ctags_kinds(source.language) {
            by_tags.entry(tags).or_default().push(source);
        }
    }
    for (tags, sources) in by_tags {
        // The grammar and its query are made once, before the clock starts.
        parse(sources[0].language, b"");
        let (before, _) = cpu_times()?;
        let mut bytes = 0;
        for source in &sources {
            bytes += source.text.len();
            std::hint::black_box(parse(source.language, &source.text));
        }
        let ours = cpu_times()?.0.saturating_sub(before);
        let (_, kinds) = ctags_kinds(sources[0].language).context("it was there")?;
        let idle = timed(|| ctags(tags, kinds, &sources[..1]))?;
        let theirs = timed(|| ctags(tags, kinds, &sources))?.saturating_sub(idle);
        let mut sizes: Vec<usize> = sources.iter().map(|source| source.text.len()).collect();
        sizes.sort_unstable();
        let rate = |took: Duration| sources.len() as f64 / took.as_secs_f64().max(1e-9);
        println!(
            "{tags:<12} {:>6} {:>9} {:>10.0} {:>9.1} {:>10.0} {:>9.2}",
            sources.len(),
            sizes[sizes.len() / 2],
            rate(ours),
            bytes as f64 / 1e6 / ours.as_secs_f64(),
            rate(theirs),
            rate(ours) / rate(theirs)
        );
    }
    Ok(())
}

/// Processor time that a program which is run takes.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let (_, before) = cpu_times()?;
    work()?;
    Ok(cpu_times()?.1.saturating_sub(before))
}

/// Processor time of this process, and of its children that ended. It says the same on a machine
/// that is busy with other things.
fn cpu_times() -> Result<(Duration, Duration)> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(')').context("a name in brackets")?;
    let ticks = |from: usize| -> Result<u64> {
        let two = fields.split_whitespace().skip(from).take(2);
        two.map(|ticks| Ok(ticks.parse::<u64>()?)).sum()
    };
    // Ticks are a hundredth of a second on every Linux.
    Ok((
        Duration::from_millis(10 * ticks(11)?),
        Duration::from_millis(10 * ticks(13)?),
    ))
}
