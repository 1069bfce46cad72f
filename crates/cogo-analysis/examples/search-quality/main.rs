//! How well search finds a function by its documentation, which is taken out of the sources first.
//!
//! `scripts/search-quality` fetches a model and packages and runs it:
//!
//! ```text
//! search-quality MODEL-DIRECTORY PACKAGE-DIRECTORY...
//! ```

mod corpus;
mod vectors;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use cogo_analysis::analyse::analyse;
use cogo_analysis::search::{
    BertModel, Embedder, Index, Mode, ModelFiles, Progress, read_text, sources,
};
use cogo_analysis::store::Store;

use corpus::{Corpus, Question};

const MODES: [Mode; 3] = [Mode::Lexical, Mode::Semantic, Mode::Hybrid];
const RANKS: usize = 10;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(model) = arguments.next() else {
        bail!("name the directory of a model, then directories of packages");
    };
    let model = BertModel::load(&ModelFiles::in_directory(Path::new(&model))?)?;
    println!("| package | chunks | questions | words | meaning | both |");
    println!("|---|---|---|---|---|---|");
    let mut all = vec![[0.0; MODES.len()]; 0];
    for package in arguments {
        let ranks = measure(&PathBuf::from(package), &model)?;
        all.extend(ranks);
    }
    let [words, meaning, both] = means(&all);
    println!(
        "| all | | {} | {words:.3} | {meaning:.3} | {both:.3} |",
        all.len()
    );
    vectors::measure(model.dimensions());
    Ok(())
}

/// The reciprocal ranks of a package's questions, by mode.
fn measure(package: &Path, model: &BertModel) -> Result<Vec<[f64; MODES.len()]>> {
    let corpus = Corpus::read(package)?;
    let work = tempfile::tempdir()?;
    corpus.write(&work.path().join("sources"))?;
    let root = work.path().join("sources");
    let mut store = Store::open(work.path(), &root)?;
    analyse(&mut store, &root, &AtomicBool::new(false), &mut |_| {})?;
    let mut index = Index::open(&work.path().join("index"))?;
    let read = |path: &str| read_text(&root, path);
    let go_on = &mut |_: Progress| ControlFlow::Continue(());
    index.update(&sources(store.connection())?, &read, go_on)?;
    let started_at = Instant::now();
    // Ended only by what the closure says, which is to go on.
    let _ = index.embed(model, go_on)?;
    let took = started_at.elapsed();
    let ranks = corpus
        .questions
        .iter()
        .map(|question| ranks(&mut index, model, question));
    let ranks: Vec<_> = ranks.collect::<Result<_>>()?;
    let [words, meaning, both] = means(&ranks);
    let chunks = index.coverage(model.name())?.chunks;
    let name = package
        .file_name()
        .context("a package has a name")?
        .display();
    println!(
        "| {name} | {chunks} | {} | {words:.3} | {meaning:.3} | {both:.3} |",
        ranks.len()
    );
    eprintln!(
        "{name}: embedded in {:.1} s, {:.0} chunks/s",
        took.as_secs_f64(),
        chunks as f64 / took.as_secs_f64()
    );
    Ok(ranks)
}

fn ranks(index: &mut Index, model: &BertModel, question: &Question) -> Result<[f64; MODES.len()]> {
    let mut ranks = [0.0; MODES.len()];
    for (mode, rank) in MODES.into_iter().zip(&mut ranks) {
        let hits = index.search(&question.text, mode, Some(model), RANKS)?;
        let at = hits.iter().position(|hit| {
            let symbol = hit.symbol.as_deref().unwrap_or_default();
            let name = symbol.rsplit(['.', ':']).next().unwrap_or_default();
            hit.path == question.path && name == question.function
        });
        *rank = at.map_or(0.0, |at| 1.0 / (at as f64 + 1.0));
    }
    Ok(ranks)
}

fn means(ranks: &[[f64; MODES.len()]]) -> [f64; MODES.len()] {
    std::array::from_fn(|mode| {
        ranks.iter().map(|ranks| ranks[mode]).sum::<f64>() / ranks.len().max(1) as f64
    })
}
