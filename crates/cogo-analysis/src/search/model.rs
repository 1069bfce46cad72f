//! The files of a model: in a directory, or fetched from a hub into one.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::http;

/// The files that make a model.
const NAMES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
/// Largest file of a model that is fetched.
const BYTES_MAX: u64 = 4 << 30;

/// Where the files of a model are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// `config.json`.
    pub config: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// `model.safetensors`.
    pub weights: PathBuf,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of it is missing.
    #[error("`{directory}` has no `{name}`")]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// The file.
        name: &'static str,
    },
    /// The hub did not give a file.
    #[error("failed to fetch `{url}`: {reason}")]
    Fetch {
        /// What was fetched.
        url: String,
        /// Why not.
        reason: String,
    },
    /// A fetched file cannot be stored.
    #[error("failed to write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ModelFiles {
    /// The model in a directory.
    ///
    /// # Errors
    ///
    /// [`ModelError::Missing`] names the first file that is not there.
    pub fn in_directory(directory: &Path) -> Result<Self, ModelError> {
        for name in NAMES {
            if !directory.join(name).is_file() {
                return Err(ModelError::Missing {
                    directory: directory.to_owned(),
                    name,
                });
            }
        }
        let [config, tokenizer, weights] = NAMES.map(|name| directory.join(name));
        Ok(Self {
            config,
            tokenizer,
            weights,
        })
    }
}

/// Fetches the model `name` from a hub that keeps files at `<hub>/<name>/resolve/main/<file>`.
/// A file is there whole or not at all; what is there already is not fetched again.
///
/// # Errors
///
/// [`ModelError::Fetch`] and [`ModelError::Write`].
pub fn download(
    hub: &str,
    name: &str,
    directory: &Path,
    on_bytes: &mut dyn FnMut(&str, u64),
) -> Result<ModelFiles, ModelError> {
    let agent = http::agent();
    for file in NAMES {
        let target = directory.join(file);
        if !target.is_file() {
            let url = format!("{}/{name}/resolve/main/{file}", hub.trim_end_matches('/'));
            fetch(&agent, &url, &target, &mut |bytes| on_bytes(file, bytes))?;
        }
    }
    ModelFiles::in_directory(directory)
}

fn fetch(
    agent: &ureq::Agent,
    url: &str,
    target: &Path,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), ModelError> {
    let failed = |reason: String| ModelError::Fetch {
        url: url.to_owned(),
        reason,
    };
    let unwritten = |source| ModelError::Write {
        path: target.to_owned(),
        source,
    };
    let response = agent
        .get(url)
        .call()
        .map_err(|error| failed(error.to_string()))?;
    if !response.status().is_success() {
        return Err(failed(format!("the server says {}", response.status())));
    }
    let directory = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(unwritten)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(unwritten)?;
    let mut body = response
        .into_body()
        .into_with_config()
        .limit(BYTES_MAX)
        .reader();
    let mut buffer = vec![0; 1 << 16];
    let mut done = 0;
    loop {
        let read = body
            .read(&mut buffer)
            .map_err(|error| failed(error.to_string()))?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).map_err(unwritten)?;
        done += read as u64;
        on_bytes(done);
    }
    file.as_file().sync_all().map_err(unwritten)?;
    file.persist(target)
        .map_err(|error| unwritten(error.error))?;
    Ok(())
}
