//! Questions about what surrounds the code: its history, its owners, what it depends on.

use cogo_analysis::history::{authors, co_changes, hot_spots};
use cogo_analysis::manifest::{Owners, dependencies};
use cogo_analysis::store::Store;
use serde_json::json;

use super::query::{answered, lines};
use crate::failure::{Failure, print};
use crate::table::Table;

/// Files that change together with another one, at most.
const TOGETHER_MAX: usize = 20;

/// Files that are large and change often.
pub(super) fn hot(store: &Store, limit: usize, json: bool) -> Result<u8, Failure> {
    let found = hot_spots(store.connection(), limit)?;
    if json {
        print(&lines(&found)?)?;
    } else {
        let mut table = Table::new(["FILE", "COMMITS", "LINES"]);
        for spot in &found {
            table.row([
                spot.path.clone(),
                spot.commits.to_string(),
                spot.lines.to_string(),
            ]);
        }
        print(&table.render())?;
    }
    Ok(answered(found.is_empty()))
}

/// Who owns and changed a file, and what changes with it.
pub(super) fn history(
    store: &Store,
    root: &std::path::Path,
    file: &str,
    json: bool,
) -> Result<u8, Failure> {
    let authors = authors(store.connection(), file)?;
    let together = co_changes(store.connection(), file, TOGETHER_MAX)?;
    let owners = Owners::of(root).of_path(file).to_vec();
    if json {
        let object = json!({
            "path": file, "owners": owners, "authors": authors, "changesWith": together,
        });
        print(&format!("{object}\n"))?;
        return Ok(answered(authors.is_empty()));
    }
    if authors.is_empty() {
        return Err(
            Failure::new(format!("no commit that is known changed `{file}`"))
                .hint("name it from the root of the repository; `cogo analyze` reads the history"),
        );
    }
    let mut text = String::new();
    if !owners.is_empty() {
        text.push_str(&format!("owners: {}\n\n", owners.join(" ")));
    }
    let mut table = Table::new(["AUTHOR", "COMMITS"]);
    for author in &authors {
        table.row([author.name.clone(), author.commits.to_string()]);
    }
    text.push_str(&table.render());
    if !together.is_empty() {
        let mut table = Table::new(["CHANGES WITH", "COMMITS", "SHARE"]);
        for other in &together {
            let share = format!("{:.0} %", other.share * 100.0);
            table.row([other.path.clone(), other.commits.to_string(), share]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    print(&text)?;
    Ok(0)
}

/// What the manifests depend on.
pub(super) fn depends(
    store: &Store,
    name: Option<&str>,
    is_locked: bool,
    json: bool,
) -> Result<u8, Failure> {
    let found = dependencies(store.connection(), name, is_locked)?;
    if json {
        print(&lines(&found)?)?;
    } else {
        let mut table = Table::new(["PACKAGE", "VERSION", "KIND", "OF", "MANIFEST"]);
        for dependency in &found {
            table.row([
                dependency.name.clone(),
                dependency
                    .requirement
                    .clone()
                    .unwrap_or_else(|| "any".to_owned()),
                dependency.kind.clone(),
                dependency.ecosystem.clone(),
                dependency.manifest.clone(),
            ]);
        }
        print(&table.render())?;
    }
    Ok(answered(found.is_empty()))
}
