//! `pom.xml`.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::{Dependency, Kind, Manifest, ManifestError};

/// Deeper elements are passed over.
const DEPTH_MAX: usize = 64;

pub(super) fn pom(text: &str) -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    let mut properties = HashMap::new();
    let mut fields: HashMap<String, String> = HashMap::new();
    let mut group = None;
    let mut path: Vec<String> = Vec::new();
    let mut reader = Reader::from_str(text);
    let mut value = String::new();
    loop {
        match reader.read_event()? {
            Event::Eof => break,
            Event::Start(element) => {
                path.push(String::from_utf8_lossy(element.local_name().as_ref()).into_owned());
                value.clear();
            }
            Event::Text(text) if path.len() <= DEPTH_MAX => {
                value.push_str(&String::from_utf8_lossy(&text));
            }
            Event::End(_) => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                let told = value.trim().to_owned();
                match names[..] {
                    ["project", "groupId"] => group = Some(told),
                    ["project", "parent", "groupId"] => group = group.or(Some(told)),
                    ["project", "artifactId"] => manifest.package = Some(told),
                    ["project", "version"] => manifest.version = Some(told),
                    ["project", "parent", "version"] => {
                        manifest.version = manifest.version.or(Some(told));
                    }
                    ["project", "licenses", "license", "name"] => manifest.license = Some(told),
                    ["project", "properties", name] => {
                        properties.insert(name.to_owned(), told);
                    }
                    [.., "dependencies", "dependency", field] => {
                        fields.insert(field.to_owned(), told);
                    }
                    ["project", "dependencies", "dependency"] => {
                        manifest
                            .dependencies
                            .extend(dependency(&fields, &properties));
                        fields.clear();
                    }
                    [.., "dependencies", "dependency"] => fields.clear(),
                    _ => {}
                }
                path.pop();
                value.clear();
            }
            _ => {}
        }
    }
    if let (Some(group), Some(name)) = (group, &mut manifest.package) {
        *name = format!("{group}:{name}");
    }
    Ok(manifest)
}

fn dependency(
    fields: &HashMap<String, String>,
    properties: &HashMap<String, String>,
) -> Option<Dependency> {
    let field = |name: &str| fields.get(name).map(|text| resolved(text, properties));
    let name = format!("{}:{}", field("groupId")?, field("artifactId")?);
    let kind = match (field("scope").as_deref(), field("optional").as_deref()) {
        (Some("test"), _) => Kind::Development,
        (Some("provided"), _) => Kind::Peer,
        (_, Some("true")) => Kind::Optional,
        _ => Kind::Normal,
    };
    let version = field("version");
    let is_exact = version
        .as_ref()
        .is_some_and(|text| !text.contains([',', '[', '(', '$']));
    Some(Dependency::asked(&name, version.as_deref(), kind, is_exact))
}

/// `${name}` by the properties of the same file.
fn resolved(text: &str, properties: &HashMap<String, String>) -> String {
    let name = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    let value = name.and_then(|name| properties.get(name));
    value.cloned().unwrap_or_else(|| text.to_owned())
}
