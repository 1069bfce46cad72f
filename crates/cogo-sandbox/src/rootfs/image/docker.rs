//! What `docker save` writes: `manifest.json` with paths to configurations and layers.

use serde::Deserialize;

use super::{Image, ImageConfig, Layer, Layout, listed, parse, wanted};
use crate::rootfs::digest::Digest;
use crate::rootfs::error::RootfsError;

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Saved {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

/// The image of this reference, or the only one. `None` if `docker save` did not write this.
pub(super) fn image(
    layout: &Layout,
    reference: Option<&str>,
) -> Result<Option<Image>, RootfsError> {
    let Some(bytes) = layout.document("manifest.json")? else {
        return Ok(None);
    };
    // Other programs have files of this name, and a tree may hold one.
    let Ok(saved) = serde_json::from_slice::<Vec<Saved>>(&bytes) else {
        return Ok(None);
    };
    let saved = choose(&saved, reference)?;
    let Some(bytes) = layout.document(&saved.config)? else {
        return Err(missing(&saved.config));
    };
    let config: ImageConfig = parse("the image's configuration", &bytes)?;
    if !config.platform().fits() {
        let available = config.platform().text();
        return Err(RootfsError::NoMatch {
            wanted: wanted(reference),
            available,
        });
    }
    Ok(Some(Image {
        digest: Digest::of(&bytes),
        env: config.env()?,
        working_dir: config.working_dir()?,
        layers: layers(layout, saved, &config)?,
    }))
}

fn choose<'a>(saved: &'a [Saved], reference: Option<&str>) -> Result<&'a Saved, RootfsError> {
    let named = |image: &&Saved| {
        reference.is_none_or(|reference| image.tags().iter().any(|tag| tag == reference))
    };
    let fitting: Vec<&Saved> = saved.iter().filter(named).collect();
    let available = || listed(saved.iter().flat_map(Saved::tags).cloned());
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => Err(RootfsError::NoMatch {
            wanted: wanted(reference),
            available: available(),
        }),
        _ => Err(RootfsError::Ambiguous {
            wanted: wanted(reference),
            available: available(),
        }),
    }
}

fn layers(layout: &Layout, saved: &Saved, config: &ImageConfig) -> Result<Vec<Layer>, RootfsError> {
    let paths = saved.layers.as_deref().unwrap_or_default();
    let diff_ids = config.diff_ids(paths.len())?;
    let layers = paths.iter().zip(diff_ids).map(|(path, diff_id)| {
        let file = layout.file(path)?.ok_or_else(|| missing(path))?;
        let metadata = file
            .metadata()
            .map_err(|error| RootfsError::io(format!("look at `{path}`"), error))?;
        Ok(Layer {
            file,
            size: metadata.len(),
            digest: None,
            diff_id,
        })
    });
    layers.collect()
}

fn missing(path: &str) -> RootfsError {
    RootfsError::malformed("the image", format!("`{path}` is missing"))
}
