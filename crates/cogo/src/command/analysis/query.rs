//! `cogo query`: questions to the graph of a repository.

use std::time::Duration;

use clap::{Args, Subcommand};
use cogo_analysis::query::graph::{Direction, Walk, path, walk};
use cogo_analysis::query::modules::{Level, modules};
use cogo_analysis::query::{Found, dead, definitions, references, sql};
use cogo_analysis::store::Store;
use cogo_sandbox::exec_dir::StateDir;
use serde::Serialize;

use super::Repository;
use super::draw::{Arrow, Drawing, Shape};
use super::surroundings;
use crate::failure::{Failure, note, print};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  cogo query def Store::open            where it is defined
  cogo query refs Store::open           where it is used
  cogo query callers open --depth 3     who calls it, over three steps
  cogo query callees main --mermaid     what it calls, as a diagram
  cogo query path main Store::open      how one reaches the other
  cogo query modules --cycles           modules that depend on each other in circles
  cogo query dead                       what nothing seems to use
  cogo query hot                        large files that change often
  cogo query history src/store.rs       who changed it, and what changes with it
  cogo query depends serde              who depends on a package
  cogo query sql \"SELECT kind, count(*) FROM symbol GROUP BY kind\"

A symbol is named by its name, by the end of its full name (Store::open, Store.open), or by a place
(src/store.rs:12, src/store.rs:open). Confidence says how sure it is that a use means it.

Exit codes:
  0  there is an answer    1  there is none, or it failed    2  wrong usage";

/// Ask who defines, uses and calls what in a repository
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    repository: Repository,
}

#[derive(Args, Debug)]
struct Output {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print a Graphviz graph, where the answer is one
    #[arg(long, global = true, conflicts_with = "json")]
    dot: bool,
    /// Print a Mermaid graph, where the answer is one
    #[arg(long, global = true, conflicts_with_all = ["json", "dot"])]
    mermaid: bool,
    /// Leave out uses that are less certain, from 0 to 1
    #[arg(long, global = true, value_name = "P", default_value_t = 0.2)]
    min_confidence: f64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Where a symbol is defined
    Def {
        /// The symbol
        symbol: String,
    },
    /// Where a symbol is used
    Refs {
        /// The symbol
        symbol: String,
    },
    /// Who calls a symbol
    Callers(WalkOptions),
    /// What a symbol calls
    Callees(WalkOptions),
    /// How one symbol reaches another
    Path {
        /// The user
        from: String,
        /// The used
        to: String,
    },
    /// Which modules depend on which
    Modules {
        /// By folder instead of by file
        #[arg(long)]
        folders: bool,
        /// Only those that depend on each other in circles
        #[arg(long)]
        cycles: bool,
        /// With files of tests
        #[arg(long)]
        tests: bool,
    },
    /// Functions and types that nothing seems to use
    Dead {
        /// Those that other repositories could use, too
        #[arg(long)]
        exported: bool,
    },
    /// Files that are large and change often, as of the last `cogo analyze`
    Hot {
        /// Files at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Who owns and changed a file, and which files change with it
    History {
        /// The file, from the root of the repository
        file: String,
    },
    /// What the manifests depend on
    Depends {
        /// This package alone
        name: Option<String>,
        /// With what lock files say
        #[arg(long)]
        locked: bool,
    },
    /// SQL of your own, reading only; tables: symbol, edge, file, import, manifest, dependency,
    /// `history_file`
    Sql {
        /// The query
        sql: String,
        /// Rows at most
        #[arg(long, value_name = "N", default_value_t = 1000)]
        rows: usize,
        /// Seconds at most
        #[arg(long, value_name = "S", default_value_t = 10)]
        time: u64,
    },
}

#[derive(Args, Debug)]
struct WalkOptions {
    /// The symbol
    symbol: String,
    /// How many steps
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: u32,
    /// Follow all uses, not calls alone
    #[arg(long)]
    all: bool,
}

/// Answers.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let (mut store, root) = options.repository.open(state)?;
    let output = &options.output;
    match &options.command {
        Command::Hot { limit } => surroundings::hot(&store, *limit, output.json),
        Command::History { file } => surroundings::history(&store, &root, file, output.json),
        Command::Depends { name, locked } => {
            surroundings::depends(&store, name.as_deref(), *locked, output.json)
        }
        Command::Def { symbol } => list(&find(&store, symbol)?, output),
        Command::Refs { symbol } => refs(&store, symbol, output),
        Command::Callers(walk) => graph(&store, walk, Direction::Callers, output),
        Command::Callees(walk) => graph(&store, walk, Direction::Callees, output),
        Command::Path { from, to } => {
            let (from, to) = (ids(&find(&store, from)?), ids(&find(&store, to)?));
            let found = path(store.connection(), &from, &to, output.min_confidence)?;
            list(&found, output)
        }
        Command::Modules {
            folders,
            cycles,
            tests,
        } => {
            let level = if *folders { Level::Folder } else { Level::File };
            let found = modules(store.connection(), level, *tests)?;
            show_modules(&found, *cycles, output)
        }
        Command::Dead { exported } => {
            list(&dead::candidates(store.connection(), *exported)?, output)
        }
        Command::Sql { sql, rows, time } => {
            let time = Duration::from_secs(*time);
            let found = sql::query(store.connection_mut(), sql, *rows, time).map_err(|error| {
                Failure::from(error).hint(
                    "only SELECT is allowed; `SELECT sql FROM sqlite_schema` shows the tables",
                )
            })?;
            show_rows(&found, output)
        }
    }
}

fn find(store: &Store, text: &str) -> Result<Vec<Found>, Failure> {
    let found = definitions(store.connection(), text)?;
    if found.is_empty() {
        return Err(Failure::new(format!("nothing is named `{text}`"))
            .hint("name it alone, or by a place such as src/store.rs:12"));
    }
    Ok(found)
}

fn ids(found: &[Found]) -> Vec<i64> {
    found.iter().map(|found| found.id).collect()
}

pub(super) fn lines<T: Serialize>(found: &[T]) -> Result<String, Failure> {
    let mut text = String::new();
    for one in found {
        text.push_str(&serde_json::to_string(one)?);
        text.push('\n');
    }
    Ok(text)
}

/// Whether there was an answer, for scripts.
pub(super) fn answered(is_empty: bool) -> u8 {
    u8::from(is_empty)
}

fn list(found: &[Found], output: &Output) -> Result<u8, Failure> {
    if output.json {
        print(&lines(found)?)?;
    } else if output.dot || output.mermaid {
        let arrows = found.windows(2).map(|pair| Arrow {
            source: pair[0].id.to_string(),
            target: pair[1].id.to_string(),
            label: String::new(),
        });
        draw(found.iter().map(shape).collect(), arrows.collect(), output)?;
    } else {
        let mut table = Table::new(["SYMBOL", "KIND", "PLACE", "SIGNATURE"]);
        for found in found {
            table.row([
                found.name.clone(),
                found.kind.clone(),
                format!("{}:{}", found.path, found.line),
                found.signature.clone(),
            ]);
        }
        print(&table.render())?;
    }
    Ok(answered(found.is_empty()))
}

fn refs(store: &Store, symbol: &str, output: &Output) -> Result<u8, Failure> {
    let mut found = references(store.connection(), &ids(&find(store, symbol)?))?;
    found.retain(|place| place.confidence >= output.min_confidence);
    if output.json {
        print(&lines(&found)?)?;
    } else {
        let mut table = Table::new(["PLACE", "USE", "WITHIN", "SYMBOL", "CONFIDENCE"]);
        for place in &found {
            table.row([
                format!("{}:{}:{}", place.path, place.line, place.column),
                place.kind.clone(),
                place.within.clone().unwrap_or_else(|| "-".to_owned()),
                place.target.clone(),
                format!("{:.2}", place.confidence),
            ]);
        }
        print(&table.render())?;
    }
    Ok(answered(found.is_empty()))
}

fn graph(
    store: &Store,
    options: &WalkOptions,
    direction: Direction,
    output: &Output,
) -> Result<u8, Failure> {
    let start = find(store, &options.symbol)?;
    let how = Walk {
        direction,
        depth: options.depth,
        confidence_min: output.min_confidence,
        calls_only: !options.all,
    };
    let found = walk(store.connection(), &ids(&start), &how)?;
    if output.json {
        print(&(serde_json::to_string(&found)? + "\n"))?;
    } else if output.dot || output.mermaid {
        let arrows = found.edges.iter().map(|link| Arrow {
            source: link.source.to_string(),
            target: link.target.to_string(),
            label: match link.confidence {
                sure if sure >= 0.8 => String::new(),
                sure => format!("{sure:.2}"),
            },
        });
        let shapes = found.nodes.iter().map(|node| shape(&node.symbol)).collect();
        draw(shapes, arrows.collect(), output)?;
    } else {
        let mut table = Table::new(["DEPTH", "SYMBOL", "KIND", "PLACE", "CONFIDENCE"]);
        for node in found.nodes.iter().filter(|node| node.depth > 0) {
            let id = node.symbol.id;
            let sure = found
                .edges
                .iter()
                .filter(|link| match direction {
                    Direction::Callers => link.source == id,
                    Direction::Callees => link.target == id,
                })
                .map(|link| link.confidence)
                .fold(0.0, f64::max);
            table.row([
                node.depth.to_string(),
                node.symbol.name.clone(),
                node.symbol.kind.clone(),
                format!("{}:{}", node.symbol.path, node.symbol.line),
                format!("{sure:.2}"),
            ]);
        }
        print(&table.render())?;
    }
    if found.truncated {
        note("there is more; it was not followed to its end");
    }
    Ok(answered(found.nodes.len() <= start.len()))
}

fn shape(found: &Found) -> Shape {
    Shape {
        id: found.id.to_string(),
        label: found.name.clone(),
        detail: format!("{}:{}", found.path, found.line),
    }
}

fn draw(shapes: Vec<Shape>, arrows: Vec<Arrow>, output: &Output) -> Result<(), Failure> {
    let drawing = Drawing { shapes, arrows };
    print(&if output.dot {
        drawing.dot()
    } else {
        drawing.mermaid()
    })
}

fn show_modules(
    found: &cogo_analysis::query::modules::Modules,
    only_cycles: bool,
    output: &Output,
) -> Result<u8, Failure> {
    let is_wanted = |source: &str, target: &str| {
        let together = |cycle: &Vec<String>| {
            [source, target]
                .iter()
                .all(|name| cycle.iter().any(|member| member == name))
        };
        !only_cycles || found.cycles.iter().any(together)
    };
    let dependencies: Vec<_> = found
        .dependencies
        .iter()
        .filter(|found| is_wanted(&found.source, &found.target))
        .collect();
    if output.json {
        let object = serde_json::json!({ "dependencies": dependencies, "cycles": found.cycles });
        print(&format!("{object}\n"))?;
    } else if output.dot || output.mermaid {
        let mut names: Vec<&str> = dependencies
            .iter()
            .flat_map(|found| [found.source.as_str(), found.target.as_str()])
            .collect();
        names.sort_unstable();
        names.dedup();
        let shapes = names.iter().map(|name| Shape {
            id: (*name).to_owned(),
            label: (*name).to_owned(),
            detail: String::new(),
        });
        let arrows = dependencies.iter().map(|found| Arrow {
            source: found.source.clone(),
            target: found.target.clone(),
            label: found.uses.to_string(),
        });
        draw(shapes.collect(), arrows.collect(), output)?;
    } else if only_cycles {
        let lines = found
            .cycles
            .iter()
            .map(|cycle| format!("{}\n", cycle.join(" ↔ ")));
        print(&lines.collect::<String>())?;
    } else {
        let mut table = Table::new(["MODULE", "DEPENDS ON", "USES"]);
        for found in &dependencies {
            table.row([
                found.source.clone(),
                found.target.clone(),
                found.uses.to_string(),
            ]);
        }
        print(&table.render())?;
    }
    Ok(answered(dependencies.is_empty()))
}

fn show_rows(found: &sql::Rows, output: &Output) -> Result<u8, Failure> {
    let text = if output.json {
        let objects: Vec<serde_json::Map<_, _>> = found
            .rows
            .iter()
            .map(|row| {
                found
                    .columns
                    .iter()
                    .cloned()
                    .zip(row.iter().cloned())
                    .collect()
            })
            .collect();
        lines(&objects)?
    } else {
        let cell = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.replace(['\t', '\n', '\r'], " "),
            serde_json::Value::Null => String::new(),
            value => value.to_string(),
        };
        let rows = found
            .rows
            .iter()
            .map(|row| row.iter().map(cell).collect::<Vec<_>>());
        let all = std::iter::once(found.columns.clone()).chain(rows);
        all.map(|row| row.join("\t") + "\n").collect()
    };
    print(&text)?;
    if found.truncated {
        note("there are more rows; --rows sets how many are shown");
    }
    Ok(answered(found.rows.is_empty()))
}
