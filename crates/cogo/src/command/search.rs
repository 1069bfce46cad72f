//! `cogo search`: finds places in a repository by words, by meaning, or by both.

use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use cogo_analysis::analyse::analyse;
use cogo_analysis::search::{
    BertModel, Embedder, Hit, Index, Mode, ModelFiles, Progress, Stage, download, read_text,
    sources,
};
use cogo_analysis::store::{Store, StoreError, location};
use cogo_sandbox::exec_dir::StateDir;
use serde::Serialize;

use crate::failure::{Failure, note, print};
use crate::origin::{self, OriginOptions};
use crate::paint::{Color, Painter};
use crate::state;

/// The model that is fetched, and where from.
const MODEL: &str = "sentence-transformers/all-MiniLM-L6-v2";
const HUB: &str = "https://huggingface.co";

/// Names the directory of a model where no option does.
const MODEL_VARIABLE: &str = "COGO_MODEL_DIR";

/// Lines of a hit that are shown.
const SNIPPET_LINES: usize = 4;

const EXAMPLES: &str = "\
Examples:
  cogo search where are leases renewed
  cogo search --lexical parse_http_request --json
  cogo search --repo https://example.org/a/b.git --depth 1 retry after a timeout
  cogo search --fetch-model how is output kept       fetches the model first, once

Without a model the search is by words alone. Exit code 1 means that nothing was found.";

/// Find places in a repository by words and by meaning
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Options {
    /// What to look for
    #[arg(required = true, value_name = "WORDS")]
    words: Vec<String>,
    /// A directory, or the URL of a repository [default: the one around the current directory]
    #[arg(long, value_name = "PATH|URL")]
    repo: Option<String>,
    /// How many places to show
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    limit: usize,
    /// By words alone
    #[arg(long, conflicts_with = "semantic")]
    lexical: bool,
    /// By meaning alone
    #[arg(long)]
    semantic: bool,
    /// Directory with config.json, tokenizer.json and model.safetensors of a BERT model [default:
    /// `COGO_MODEL_DIR`, else `models/all-MiniLM-L6-v2` in the state directory]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Fetch the default model if it is not there (90 MB)
    #[arg(long, conflicts_with_all = ["model", "lexical"])]
    fetch_model: bool,
    /// Where to fetch the model from
    #[arg(long, default_value = HUB, value_name = "URL", requires = "fetch_model")]
    hub: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    origin: OriginOptions,
}

/// The answer as `--json` tells it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    /// How it was searched: `hybrid`, `lexical` or `semantic`.
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    hits: &'a [Hit],
}

/// Searches, after bringing analysis and index up to date.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let origin = origin::find(options.repo.as_deref(), &options.origin, state.path())?;
    let model = model(options, state.path())?;
    let store = analysed(state.path(), &origin.root)?;
    let mut index = Index::open(&location(state.path(), &origin.root))?;
    let files = sources(store.connection())?;
    let read = |path: &str| read_text(&origin.root, path);
    index.update(&files, &read, &mut show)?;
    if let Some(model) = &model {
        // Ended only by what `show` says, which is to go on.
        let _ = index.embed(model, &mut show)?;
    }
    clear();
    let mode = mode(options, model.is_some());
    let embedder = model.as_ref().map(|model| model as &dyn Embedder);
    let hits = index.search(&options.words.join(" "), mode, embedder, options.limit)?;
    let text = if options.json {
        let answer = Answer {
            mode: name(mode),
            commit: origin.commit.as_deref(),
            hits: &hits,
        };
        format!("{}\n", serde_json::to_string(&answer)?)
    } else {
        hits.iter()
            .map(|hit| shown(hit, Painter::stdout()))
            .collect()
    };
    print(&text)?;
    if hits.is_empty() {
        note("nothing was found");
        return Ok(crate::exit_code::FAILURE);
    }
    Ok(0)
}

/// The analysis of the files as they are now. One that another process is just making is taken as
/// far as it is.
fn analysed(state_dir: &Path, root: &Path) -> Result<Store, Failure> {
    match Store::open(state_dir, root) {
        Ok(mut store) => {
            analyse(&mut store, root, &AtomicBool::new(false), &mut |_| {})?;
            Ok(store)
        }
        Err(StoreError::Busy { .. }) => Ok(Store::open_read_only(state_dir, root)?),
        Err(error) => Err(error.into()),
    }
}

fn mode(options: &Options, has_model: bool) -> Mode {
    match (options.lexical, options.semantic, has_model) {
        (true, _, _) => Mode::Lexical,
        (false, true, _) => Mode::Semantic,
        (false, false, true) => Mode::Hybrid,
        (false, false, false) => {
            note("searched by words alone, as there is no model; --fetch-model gets one");
            Mode::Lexical
        }
    }
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Hybrid => "hybrid",
        Mode::Lexical => "lexical",
        Mode::Semantic => "semantic",
    }
}

/// The model, if one is wanted and there.
fn model(options: &Options, state_dir: &Path) -> Result<Option<BertModel>, Failure> {
    if options.lexical {
        return Ok(None);
    }
    let default = state_dir.join("models/all-MiniLM-L6-v2");
    let named = options
        .model
        .clone()
        .or_else(|| state::variable(MODEL_VARIABLE).map(PathBuf::from));
    let files = match named {
        Some(directory) => ModelFiles::in_directory(&directory).map_err(|error| {
            Failure::from(error).hint("name the directory of a BERT model with safetensors")
        })?,
        None if options.fetch_model => fetch(options, &default)?,
        None => match ModelFiles::in_directory(&default) {
            Ok(files) => files,
            Err(error) if options.semantic => {
                return Err(Failure::from(error)
                    .hint("fetch the model with --fetch-model, or name one with --model"));
            }
            Err(_) => return Ok(None),
        },
    };
    Ok(Some(BertModel::load(&files)?))
}

fn fetch(options: &Options, directory: &Path) -> Result<ModelFiles, Failure> {
    let is_shown = std::io::stderr().is_terminal();
    let files = download(&options.hub, MODEL, directory, &mut |file, bytes| {
        if is_shown {
            line(&format!("fetching {file}: {} MB", bytes / 1_000_000));
        }
    });
    clear();
    files.map_err(|error| {
        Failure::from(error).hint("name a directory that has the model with --model")
    })
}

fn shown(hit: &Hit, painter: Painter) -> String {
    let place = painter.paint(Color::Cyan, format!("{}:{}", hit.path, hit.line));
    let symbol = match (&hit.symbol, &hit.kind) {
        (Some(symbol), Some(kind)) => format!("  {kind} {symbol}"),
        _ => String::new(),
    };
    let mut text = format!("{place}{symbol}\n");
    for line in hit.text.lines().take(SNIPPET_LINES) {
        let clean = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
        let line: String = line.chars().take(110).map(clean).collect();
        text.push_str(&format!("    {}\n", line.trim_end()));
    }
    text.push('\n');
    text
}

fn show(progress: Progress) -> ControlFlow<()> {
    if std::io::stderr().is_terminal() {
        let stage = match progress.stage {
            Stage::Indexing => "indexing",
            Stage::Embedding => "embedding; what is done is kept, Ctrl-C stops",
        };
        line(&format!("{} of {} {stage}", progress.done, progress.total));
    }
    ControlFlow::Continue(())
}

fn line(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is harmed by progress that is not shown.
    let _ = write!(stderr, "\r\x1b[K{text}");
    let _ = stderr.flush();
}

fn clear() {
    if std::io::stderr().is_terminal() {
        origin::clear();
    }
}
