//! `cogo rootfs`: root file systems other than the host's.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cogo_sandbox::exec_dir::StateDir;
use cogo_sandbox::rootfs::{self, Existing, ImportOptions, Imported, Progress, Rootfs};

use crate::failure::{Failure, note, print};
use crate::{instant, measure};

/// Import and list root file systems for `cogo run --rootfs`
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Import an OCI image layout, what `docker save` wrote, or a tarball of a tree
    Import {
        /// A directory or tar file; gzip and zstd are read too
        source: PathBuf,
        /// The name for `cogo run --rootfs`
        #[arg(long)]
        name: String,
        /// Which image, if the source holds several
        #[arg(long, value_name = "IMAGE")]
        reference: Option<String>,
        /// Replace a root file system of that name
        #[arg(long)]
        replace: bool,
        /// Print no progress
        #[arg(short, long)]
        quiet: bool,
    },
    /// List what was imported
    Ls,
    /// Remove an imported root file system
    Rm {
        /// Its name
        name: String,
    },
}

/// Does what was asked.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let store = store(state);
    match &options.action {
        Action::Import {
            source,
            name,
            reference,
            replace,
            quiet,
        } => {
            let options = ImportOptions {
                reference: reference.clone(),
                existing: if *replace {
                    Existing::Replace
                } else {
                    Existing::Keep
                },
                ..ImportOptions::default()
            };
            let report = |progress| {
                if !quiet {
                    tell(progress);
                }
            };
            let imported = rootfs::import(source, &store, name, &options, &mut { report })?;
            print(&result(&imported))?;
        }
        Action::Ls => print(&table(&rootfs::list(&store)?, instant::now_ms()))?,
        Action::Rm { name } => rootfs::remove(&store, name)?,
    }
    Ok(0)
}

/// An imported root file system.
pub(crate) fn find(state: &StateDir, name: &str) -> Result<Rootfs, Failure> {
    rootfs::find(&store(state), name).map_err(|error| {
        Failure::from(error)
            .hint("`cogo rootfs ls` lists what was imported; a directory needs a `/` in its name")
    })
}

fn store(state: &StateDir) -> PathBuf {
    state.path().join("rootfs")
}

fn tell(progress: Progress) {
    match progress {
        Progress::Archive => note("unpacking the archive"),
        Progress::Layer {
            number,
            count,
            bytes,
        } => {
            note(&format!(
                "unpacking layer {number} of {count}, {}",
                measure::bytes(bytes)
            ));
        }
        // Comes often; the layers are enough for a reader.
        Progress::Unpacked { .. } => {}
    }
}

fn result(imported: &Imported) -> String {
    let mut text = format!(
        "imported `{}`: {} files, {}",
        imported.rootfs.name,
        imported.entries,
        measure::bytes(imported.bytes)
    );
    if imported.skipped > 0 {
        let _ = write!(text, ", {} special files left out", imported.skipped);
    }
    text.push('\n');
    text
}

fn table(imported: &[Rootfs], now_ms: u64) -> String {
    let width = imported
        .iter()
        .map(|rootfs| rootfs.name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut text = format!("{:width$}  {:14}  SOURCE\n", "NAME", "IMPORTED");
    for rootfs in imported {
        let at = instant::ago(rootfs.info.imported_at_ms, now_ms);
        let _ = writeln!(
            text,
            "{:width$}  {at:14}  {}",
            rootfs.name, rootfs.info.source
        );
    }
    text
}

/// Whether a user means a directory and not the name of an imported one.
pub(crate) fn is_directory(name: &str) -> bool {
    name.contains('/') || Path::new(name) == Path::new(".")
}
