//! Repairs for errors whose message says what is missing, where the tool proposes none itself.
//!
//! A rule is general: it knows a kind of error and its usual cause, and no project. Whether it was right
//! this time is found out like for every other candidate.

mod rust;

use super::change::Candidate;
use super::findings::Located;
use super::tree::Tree;

/// Candidates for one error, the likeliest first.
pub(super) fn candidates(tree: &Tree, cwd: &std::path::Path, error: &Located) -> Vec<Candidate> {
    let _ = cwd;
    match error.diagnostic.tool.as_str() {
        "rustc" => rust::candidates(tree, error),
        _ => Vec::new(),
    }
}
