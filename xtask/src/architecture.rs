//! What `ARCHITECTURE.md` says about the crates: its table, read as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// The page that holds the table.
pub(crate) const PAGE: &str = "ARCHITECTURE.md";

const HEADER: [&str; 2] = ["Crate", "Depends on"];

/// The crates of the table, each with those of our crates that it depends on.
pub(crate) type Table = BTreeMap<String, BTreeSet<String>>;

/// The page's text.
pub(crate) fn load() -> Result<String> {
    fs::read_to_string(workspace::root().join(PAGE))
        .with_context(|| format!("failed to read {PAGE}"))
}

/// Reads the crate table of the page.
pub(crate) fn table(page: &str) -> Result<Table> {
    let mut rows = page
        .lines()
        .map(cells)
        .skip_while(|cells| !is_header(cells));
    ensure!(
        rows.next().is_some(),
        "{PAGE} has no table headed `{}`",
        HEADER.join(" | ")
    );
    let mut table = Table::new();
    for cells in rows.skip(1).take_while(|cells| !cells.is_empty()) {
        let [name, depends_on, ..] = cells[..] else {
            bail!("a row of {PAGE} has one cell")
        };
        let name = name_in(name)?;
        ensure!(
            table.insert(name.clone(), names_in(depends_on)?).is_none(),
            "`{name}` has two rows"
        );
    }
    ensure!(!table.is_empty(), "the crate table of {PAGE} is empty");
    Ok(table)
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line
        .trim()
        .strip_prefix('|')
        .and_then(|rest| rest.strip_suffix('|'));
    inner.map_or_else(Vec::new, |inner| inner.split('|').map(str::trim).collect())
}

fn is_header(cells: &[&str]) -> bool {
    cells.starts_with(&HEADER)
}

fn names_in(cell: &str) -> Result<BTreeSet<String>> {
    if cell == "–" {
        return Ok(BTreeSet::new());
    }
    cell.split(',').map(|name| name_in(name.trim())).collect()
}

fn name_in(cell: &str) -> Result<String> {
    let name = cell
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'));
    Ok(name
        .with_context(|| format!("`{cell}` in {PAGE} is no crate name in backticks"))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_found_among_other_text() {
        let page = "# Title\n\n| Other | Table |\n|---|---|\n| a | b |\n\n\
                    | Crate | Depends on | Holds |\n|---|---|---|\n\
                    | `a` | – | things |\n| `b` | `a`, `c` | more |\n\n| `d` | – | no part of it |\n";
        let table = table(page).unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(table["b"], BTreeSet::from(["a".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn page_without_table_is_refused() {
        assert!(table("# Title\n").is_err());
    }

    #[test]
    fn cell_without_backticks_is_refused() {
        assert!(table("| Crate | Depends on |\n|---|---|\n| `a` | b |\n").is_err());
    }

    #[test]
    fn crate_with_two_rows_is_refused() {
        assert!(table("| Crate | Depends on |\n|---|---|\n| `a` | – |\n| `a` | – |\n").is_err());
    }
}
