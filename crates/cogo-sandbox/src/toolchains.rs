//! Toolchains that live in a user's home directory.
//!
//! The sandbox hides the home directory: it is full of keys and tokens. Compilers and
//! interpreters are often installed there too, and a build without them is no use. [`PLACES`]
//! lists the well-known ones that hold programs and downloaded sources and nothing secret;
//! they are shown read-only, the rest of the home stays hidden.
//!
//! A place joins the table only if the tool keeps its credentials elsewhere. That is why
//! `.cargo` is here in three parts (beside them lies `credentials.toml`), why `.m2/repository`
//! is and `.m2` is not (`settings.xml`), and why `.config`, `.npmrc`, `.netrc`, `.ssh`,
//! `.aws`, `.docker` and `.gem` are not here at all.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A directory below a home directory that may be shown inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is, relative to the home directory.
    pub path: &'static str,
    /// What it holds, which is the reason for showing it.
    pub holds: &'static str,
}

/// The well-known places.
pub const PLACES: &[Place] = &[
    place(".asdf", "asdf itself, its shims and installed tools"),
    place(".bun/bin", "the bun program"),
    place(".cabal/bin", "programs built by cabal"),
    place(
        ".cargo/bin",
        "rustup's proxies and programs from `cargo install`",
    ),
    place(
        ".cargo/git",
        "sources of git dependencies, for builds without a network",
    ),
    place(
        ".cargo/registry",
        "sources of registry dependencies, for builds without a network",
    ),
    place(".deno/bin", "the deno program"),
    place(".dotnet", "the .NET SDK as its install script places it"),
    place(".elan", "Lean toolchains and their proxies"),
    place(".fnm", "Node versions installed by fnm"),
    place(".foundry/bin", "the foundry programs"),
    place(".ghcup", "GHC, cabal and their links"),
    place(
        ".gradle/wrapper/dists",
        "Gradle itself, as wrapper scripts download it",
    ),
    place(".juliaup/bin", "the juliaup launcher"),
    place(".julia/juliaup", "Julia versions installed by juliaup"),
    place(
        ".local/bin",
        "programs installed for one user (pip, pipx, uv and others)",
    ),
    place(
        ".local/lib",
        "Python packages installed with `pip install --user`",
    ),
    place(".local/share/fnm", "Node versions installed by fnm"),
    place(".local/share/mise/installs", "tools installed by mise"),
    place(".local/share/mise/shims", "mise's links to them"),
    place(
        ".local/share/pipx/venvs",
        "environments behind pipx's links in `.local/bin`",
    ),
    place(".local/share/pnpm", "the pnpm program and global packages"),
    place(".local/share/uv/python", "Python versions installed by uv"),
    place(
        ".local/share/uv/tools",
        "environments behind uv's links in `.local/bin`",
    ),
    place(".m2/repository", "downloaded Maven artifacts"),
    place(
        ".nix-profile",
        "the user's Nix environment, a link into the store",
    ),
    place(".nvm", "nvm and its Node versions"),
    place(".opam", "OCaml switches"),
    place(".pub-cache/bin", "programs activated by Dart's pub"),
    place(".pub-cache/hosted", "downloaded Dart packages"),
    place(".pyenv", "pyenv, its shims and Python versions"),
    place(".rbenv", "rbenv, its shims and Ruby versions"),
    place(".rustup", "Rust toolchains"),
    place(".rvm", "rvm and its Ruby versions"),
    place(
        ".sdkman/candidates",
        "JDKs and build tools installed by SDKMAN",
    ),
    place(".stack/programs", "GHC versions installed by stack"),
    place(".swiftly", "Swift toolchains"),
    place(".volta/bin", "Volta's links"),
    place(
        ".volta/tools",
        "Node versions and packages installed by Volta",
    ),
    place(".yarn/bin", "the yarn program"),
    place("anaconda3", "an Anaconda installation"),
    place("go/bin", "programs from `go install`"),
    place("go/pkg/mod", "downloaded Go modules and toolchains"),
    place("miniconda3", "a Miniconda installation"),
    place("miniforge3", "a Miniforge installation"),
    place("sdk", "Go versions from `golang.org/dl`"),
];

const fn place(path: &'static str, holds: &'static str) -> Place {
    Place { path, holds }
}

/// Directories for programs that every system has.
pub const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Directories of the host that are inside, as `sandbox::layout` shows them.
const SYSTEM: [&str; 10] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
];

/// The places of [`PLACES`] that exist below this home directory and may be shown.
///
/// A place that is a symbolic link is shown if the link leads out of the home directory or to
/// another listed place. One that leads elsewhere in the home, or to something that holds the
/// home, is passed over: it would show what is meant to be hidden.
pub fn shown(home: &Path) -> Vec<PathBuf> {
    let Ok(real_home) = home.canonicalize() else {
        return Vec::new();
    };
    PLACES
        .iter()
        .map(|place| home.join(place.path))
        // Most are not there; finding that out has to be cheap.
        .filter(|path| path.is_dir())
        .filter(|path| {
            path.canonicalize()
                .is_ok_and(|real| may_be_shown(&real, &real_home))
        })
        .collect()
}

fn may_be_shown(real: &Path, real_home: &Path) -> bool {
    if real_home.starts_with(real) {
        return false;
    }
    match real.strip_prefix(real_home) {
        Ok(below_home) => PLACES
            .iter()
            .any(|place| below_home.starts_with(place.path)),
        Err(_) => true,
    }
}

/// The `PATH` for inside: the caller's entries that exist inside too, in their order, or the
/// usual ones if none does.
pub fn path_entries(home: &Path, host_path: &OsStr) -> String {
    let shown = shown(home);
    let mut entries: Vec<String> = Vec::new();
    for entry in std::env::split_paths(host_path) {
        let Some(text) = entry.to_str() else { continue };
        let known = entries.iter().any(|earlier| earlier == text);
        if !known && is_inside(&entry, home, &shown) {
            entries.push(text.to_owned());
        }
    }
    if entries.is_empty() {
        USUAL_PATH.to_owned()
    } else {
        entries.join(":")
    }
}

/// Whether a directory of the host is seen inside at the same path. Relative ones are not:
/// what they mean depends on where the command stands.
fn is_inside(entry: &Path, home: &Path, shown: &[PathBuf]) -> bool {
    if !entry.is_absolute() || !entry.is_dir() || has_parent_steps(entry) {
        return false;
    }
    if shown.iter().any(|place| entry.starts_with(place)) {
        return true;
    }
    let of_system = |path: &Path| {
        !path.starts_with(home) && SYSTEM.iter().any(|directory| path.starts_with(directory))
    };
    // A link in a system directory may lead out of it.
    of_system(entry) && entry.canonicalize().is_ok_and(|real| of_system(&real))
}

fn has_parent_steps(path: &Path) -> bool {
    path.components()
        .any(|part| part == std::path::Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Names that hold credentials, by the tools that write them.
    const CREDENTIALS: [&str; 24] = [
        ".aws/credentials",
        ".azure",
        ".bash_history",
        ".bunfig.toml",
        ".cargo/config.toml",
        ".cargo/credentials",
        ".cargo/credentials.toml",
        ".config/gcloud",
        ".config/gh/hosts.yml",
        ".docker/config.json",
        ".gem/credentials",
        ".git-credentials",
        ".gitconfig",
        ".gnupg",
        ".gradle/gradle.properties",
        ".kube/config",
        ".local/share/keyrings",
        ".m2/settings.xml",
        ".netrc",
        ".npmrc",
        ".pub-cache/credentials.json",
        ".pypirc",
        ".ssh/id_ed25519",
        ".stack/config.yaml",
    ];

    #[test]
    fn no_place_holds_or_is_a_credential() {
        for place in PLACES {
            for secret in CREDENTIALS {
                let (place, secret) = (Path::new(place.path), Path::new(secret));
                assert!(
                    !secret.starts_with(place),
                    "{} shows {}",
                    place.display(),
                    secret.display()
                );
                assert!(
                    !place.starts_with(secret),
                    "{} is in {}",
                    place.display(),
                    secret.display()
                );
            }
        }
    }

    #[test]
    fn places_are_sorted_plain_and_apart() {
        for (index, place) in PLACES.iter().enumerate() {
            let plain = |part| matches!(part, std::path::Component::Normal(_));
            assert!(
                Path::new(place.path).components().all(plain),
                "{}",
                place.path
            );
            for other in &PLACES[index + 1..] {
                assert!(
                    !Path::new(other.path).starts_with(place.path),
                    "{}",
                    other.path
                );
            }
        }
    }

    fn home_with(directories: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(home.path().join(directory)).unwrap();
        }
        home
    }

    #[test]
    fn existing_places_are_shown_and_nothing_else() {
        let home = home_with(&[".cargo/bin", ".ssh", ".rustup/toolchains", "project"]);
        fs::write(home.path().join(".nvm"), "a file").unwrap();
        let expected = [home.path().join(".cargo/bin"), home.path().join(".rustup")];
        assert_eq!(shown(home.path()), expected);
    }

    #[test]
    fn links_out_of_the_home_are_shown_and_links_into_it_are_not() {
        let outside = home_with(&["rustup"]);
        let home = home_with(&[".ssh", ".nvm", ".bun"]);
        symlink(outside.path().join("rustup"), home.path().join(".rustup")).unwrap();
        symlink(home.path().join(".ssh"), home.path().join(".pyenv")).unwrap();
        symlink("/", home.path().join(".rbenv")).unwrap();
        symlink(home.path(), home.path().join(".asdf")).unwrap();
        symlink("../.nvm", home.path().join(".bun/bin")).unwrap();
        let expected = [".bun/bin", ".nvm", ".rustup"].map(|place| home.path().join(place));
        assert_eq!(shown(home.path()), expected);
    }

    #[test]
    fn a_missing_home_shows_nothing() {
        assert_eq!(shown(Path::new("/nonexistent/home")), Vec::<PathBuf>::new());
    }

    #[test]
    fn path_keeps_what_exists_inside_in_order() {
        let home = home_with(&[".cargo/bin", "bin", ".pyenv/shims"]);
        let at = |place: &str| home.path().join(place).to_str().unwrap().to_owned();
        let host = format!(
            "{}:.:{}:/usr/bin:{}:/nonexistent:/tmp:/var:{}/../../.ssh:/bin:/usr/bin",
            at(".cargo/bin"),
            at("bin"),
            at(".pyenv/shims"),
            at(".cargo/bin"),
        );
        let expected = format!("{}:/usr/bin:{}:/bin", at(".cargo/bin"), at(".pyenv/shims"));
        assert_eq!(path_entries(home.path(), OsStr::new(&host)), expected);
    }

    #[test]
    fn path_falls_back_to_the_usual() {
        let home = home_with(&["bin"]);
        assert_eq!(path_entries(home.path(), OsStr::new("")), USUAL_PATH);
        assert_eq!(
            path_entries(home.path(), home.path().join("bin").as_os_str()),
            USUAL_PATH
        );
    }
}
