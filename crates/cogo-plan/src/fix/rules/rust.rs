//! Rules for rustc.

use super::super::change::Candidate;
use super::super::findings::Located;
use super::super::tree::Tree;

pub(super) fn candidates(_tree: &Tree, _error: &Located) -> Vec<Candidate> {
    Vec::new()
}
