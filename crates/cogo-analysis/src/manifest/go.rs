//! `go.mod`.

use super::{Dependency, Kind, Manifest, ManifestError};

#[expect(clippy::unnecessary_wraps, reason = "as all readers")]
pub(super) fn module(text: &str) -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    let mut block = "";
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        match (block, first) {
            ("", "module") => manifest.package = words.next().map(unquoted),
            ("", verb) if line.ends_with('(') => block = verb,
            (_, ")") => block = "",
            ("", "require") => manifest
                .dependencies
                .extend(required(words.next(), words.next())),
            ("require", path) => manifest
                .dependencies
                .extend(required(Some(path), words.next())),
            _ => {}
        }
    }
    Ok(manifest)
}

/// Go takes the version that is written, or a later one that another module asks for.
fn required(path: Option<&str>, version: Option<&str>) -> Option<Dependency> {
    Some(Dependency::asked(
        &unquoted(path?),
        Some(version?),
        Kind::Normal,
        false,
    ))
}

fn unquoted(text: &str) -> String {
    text.trim_matches('"').to_owned()
}
