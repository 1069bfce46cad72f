//! The OCI image layout: `index.json`, then manifests, configurations and layers by digest.

use std::collections::BTreeMap;
use std::fs::File;

use serde::Deserialize;

use super::{Image, ImageConfig, Layer, Layout, Platform, listed, parse, wanted};
use crate::rootfs::digest::Digest;
use crate::rootfs::error::RootfsError;

/// How deep indexes may stand in indexes.
const DEPTH_MAX: usize = 4;

/// Annotations that carry an image's name.
const NAMES: [&str; 2] = [
    "org.opencontainers.image.ref.name",
    "io.containerd.image.name",
];

/// An index or a manifest. A document that is both could mean one image to one reader and another
/// image to the next, so it is refused.
#[derive(Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Clone, Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<Platform>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    fn names(&self) -> impl Iterator<Item = &str> {
        let annotations = self.annotations.as_ref();
        NAMES
            .iter()
            .filter_map(move |key| annotations?.get(*key))
            .map(String::as_str)
    }

    fn fits(&self) -> bool {
        self.platform.as_ref().is_none_or(Platform::fits)
    }

    /// The name and platform, for a message.
    fn text(&self) -> String {
        let name = self.names().last().unwrap_or("an image without a name");
        match &self.platform {
            Some(platform) => format!("{name} ({})", platform.text()),
            None => name.to_owned(),
        }
    }
}

/// The image of this reference, or the only one. `None` if this is no OCI layout.
pub(super) fn image(
    layout: &Layout,
    reference: Option<&str>,
) -> Result<Option<Image>, RootfsError> {
    // Both files make a layout; `index.json` alone may be a file of somebody's tree.
    if layout.document("oci-layout")?.is_none() {
        return Ok(None);
    }
    let Some(bytes) = layout.document("index.json")? else {
        return Ok(None);
    };
    let index: Document = parse("`index.json`", &bytes)?;
    let mut manifests = index.manifests.unwrap_or_default();
    let mut name = reference;
    for _ in 0..DEPTH_MAX {
        let chosen = choose(&manifests, name, reference)?;
        let digest = chosen.digest.parse()?;
        let document: Document = parse("a manifest", &blob_document(layout, &chosen, digest)?)?;
        match document {
            Document {
                manifests: None,
                config: Some(config),
                layers,
            } => {
                let layers = layers.unwrap_or_default();
                return read_image(layout, digest, &config, &layers, reference).map(Some);
            }
            Document {
                manifests: Some(inner),
                config: None,
                layers: None,
            } => manifests = inner,
            _ => {
                return Err(RootfsError::malformed(
                    "a manifest",
                    "neither manifest nor index",
                ));
            }
        }
        // The name is the outer index's; the inner one's entries differ by platform.
        name = None;
    }
    Err(RootfsError::malformed(
        "`index.json`",
        "indexes stand too deep in indexes",
    ))
}

fn choose(
    manifests: &[Descriptor],
    name: Option<&str>,
    reference: Option<&str>,
) -> Result<Descriptor, RootfsError> {
    let named = |manifest: &Descriptor| {
        name.is_none_or(|name| manifest.names().any(|candidate| candidate == name))
    };
    let mut fitting: Vec<&Descriptor> = manifests
        .iter()
        .filter(|manifest| manifest.fits() && named(manifest))
        .collect();
    // One image may have many names.
    fitting.dedup_by(|a, b| a.digest == b.digest);
    let available = || listed(manifests.iter().map(Descriptor::text));
    match fitting.as_slice() {
        [only] => Ok((*only).clone()),
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

fn read_image(
    layout: &Layout,
    digest: Digest,
    config: &Descriptor,
    layers: &[Descriptor],
    reference: Option<&str>,
) -> Result<Image, RootfsError> {
    let bytes = blob_document(layout, config, config.digest.parse()?)?;
    let config: ImageConfig = parse("the image's configuration", &bytes)?;
    // An index need not say the platform.
    if !config.platform().fits() {
        let available = config.platform().text();
        return Err(RootfsError::NoMatch {
            wanted: wanted(reference),
            available,
        });
    }
    let diff_ids = config.diff_ids(layers.len())?;
    let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
        let digest = layer.digest.parse()?;
        let file = blob(layout, layer, &digest)?;
        Ok(Layer {
            file,
            size: layer.size,
            digest: Some(digest),
            diff_id,
        })
    });
    let layers: Result<Vec<Layer>, RootfsError> = layers.collect();
    Ok(Image {
        digest,
        env: config.env()?,
        working_dir: config.working_dir()?,
        layers: layers?,
    })
}

/// Opens a blob of the size that was promised. Its digest is checked by who reads it.
fn blob(layout: &Layout, descriptor: &Descriptor, digest: &Digest) -> Result<File, RootfsError> {
    let path = format!("blobs/sha256/{}", digest.hex());
    let Some(file) = layout.file(&path)? else {
        return Err(RootfsError::malformed(
            "the image",
            format!("`{path}` is missing"),
        ));
    };
    let metadata = file
        .metadata()
        .map_err(|error| RootfsError::io(format!("look at `{path}`"), error))?;
    if metadata.len() != descriptor.size {
        return Err(RootfsError::WrongSize {
            what: path,
            expected: descriptor.size,
            actual: metadata.len(),
        });
    }
    Ok(file)
}

fn blob_document(
    layout: &Layout,
    descriptor: &Descriptor,
    digest: Digest,
) -> Result<Vec<u8>, RootfsError> {
    blob(layout, descriptor, &digest)?;
    let path = format!("blobs/sha256/{}", digest.hex());
    let bytes = layout
        .document(&path)?
        .ok_or_else(|| RootfsError::malformed("the image", format!("`{path}` is missing")))?;
    digest.check(&format!("`{path}`"), &Digest::of(&bytes))?;
    Ok(bytes)
}
