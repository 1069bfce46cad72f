//! Search over a repository by words, by meaning, or by both.
//!
//! ```text
//!  files, symbols ──▶ chunks ──▶ words (FTS5, BM25) ──┐
//!                       │                             ├──▶ fused ──▶ hits
//!                       └──────▶ vectors (by hash) ───┘
//! ```
//!
//! The index is a file of its own beside the analysis. Its vectors are keyed by what was embedded,
//! so that neither a rename nor a rebuilt analysis embeds a text twice. See the decision
//! `docs/decisions/0009-vectors-are-compared-in-memory.md`.

mod chunk;
#[cfg(feature = "embedding")]
mod embed;
mod fuse;
mod index;
mod model;
mod source;
mod vectors;
mod words;

pub use chunk::{Chunk, Span, chunks};
#[cfg(feature = "embedding")]
pub use embed::BertModel;
pub use fuse::fuse;
pub use index::{Coverage, Hit, Index, SourceFile, Updated};
pub use model::{ModelError, ModelFiles, download};
pub use source::{read_text, sources};
pub use vectors::{Scored, VectorTable};
pub use words::{embeddable, split_identifier, words};

use std::ops::ControlFlow;

/// How far an update or the embedding has come. Returning `Break` ends the work; what is done stays.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// How far a piece of work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Units that are done.
    pub done: usize,
    /// Units there are.
    pub total: usize,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Files are cut into chunks and their words stored.
    Indexing,
    /// Chunks are turned into vectors.
    Embedding,
}

/// How hits are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// By words and by meaning, fused.
    #[default]
    Hybrid,
    /// By words alone.
    Lexical,
    /// By meaning alone.
    Semantic,
}

/// Turns texts into vectors of one length, each of norm 1.
pub trait Embedder {
    /// Names the model and how texts are prepared for it: vectors of another name are not compared.
    fn name(&self) -> &str;
    /// The length of its vectors.
    fn dimensions(&self) -> usize;
    /// The vectors of some texts, in their order.
    ///
    /// # Errors
    ///
    /// What the model says.
    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, SearchError>;
}

/// Why a search or its index failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The directory of the index cannot be made.
    #[error("failed to make the directory `{path}`")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("failed to use the search index")]
    Sqlite(#[from] rusqlite::Error),
    /// The model failed.
    #[error("the embedding model failed: {0}")]
    Model(String),
    /// A query without a word in it.
    #[error("the query `{0}` has no word to look for")]
    EmptyQuery(String),
}
