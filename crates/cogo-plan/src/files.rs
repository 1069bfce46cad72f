//! Files of a workspace that globs name.

use std::io;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_saphyr::Spanned;
use walkdir::WalkDir;

/// Files that the globs name, below the workspace, sorted. Links are files of their own, and not
/// followed. `.git` is never looked into.
///
/// # Errors
///
/// When a directory cannot be read.
pub fn matching(workspace: &Path, globs: &[Spanned<String>]) -> io::Result<Vec<PathBuf>> {
    let globs: Vec<String> = globs.iter().map(|glob| glob.value.clone()).collect();
    named(workspace, &globs)
}

/// The same for globs that come from elsewhere than a plan.
///
/// # Errors
///
/// When a directory cannot be read.
pub fn named(workspace: &Path, globs: &[String]) -> io::Result<Vec<PathBuf>> {
    if globs.is_empty() {
        return Ok(Vec::new());
    }
    let globs = set(globs);
    let walk = WalkDir::new(workspace)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.file_name() != ".git");
    let mut found = Vec::new();
    for entry in walk {
        let entry = entry?;
        let Ok(path) = entry.path().strip_prefix(workspace) else {
            continue;
        };
        if !entry.file_type().is_dir() && globs.is_match(path) {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}

/// Globs that name a directory name all that is in it.
fn set(globs: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let plain = glob.trim_end_matches('/');
        for text in [plain.to_owned(), format!("{plain}/**")] {
            // `check` has refused what is none.
            if let Ok(glob) = Glob::new(&text) {
                set.add(glob);
            }
        }
    }
    set.build().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_saphyr::Location;

    #[test]
    fn globs_name_files_and_whole_directories() {
        let place = tempfile::tempdir().expect("a folder");
        for path in [
            "src/a.rs",
            "src/deep/b.rs",
            "doc/c.md",
            ".git/src/x.rs",
            "d.rs",
        ] {
            let path = place.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, "").expect("a file");
        }
        let names = |glob: &str| {
            let glob = Spanned::new(glob.to_owned(), Location::UNKNOWN, Location::UNKNOWN);
            let found = matching(place.path(), &[glob]).expect("files");
            found
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("src"), ["src/a.rs", "src/deep/b.rs"]);
        assert_eq!(names("src/"), ["src/a.rs", "src/deep/b.rs"]);
        assert_eq!(names("**/*.rs"), ["d.rs", "src/a.rs", "src/deep/b.rs"]);
        assert_eq!(names("doc/*.md"), ["doc/c.md"]);
    }
}
