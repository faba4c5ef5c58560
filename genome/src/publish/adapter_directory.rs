//! From an adapter's folder to a draft.

use std::path::Path;

use super::draft::Draft;
use super::front_matter::Readme;
use crate::adapter::directory::{self, Adapter, Progress, ReadError};
use crate::entry::Kind;
use crate::manifest::{AdapterFacts, BaseModel, limits};

/// The longest description that is taken from a README.
const DESCRIPTION: usize = 1200;

/// Reads and checks the adapter in the folder at `path`. Its name is the folder's, unless the README has a `name`; whoever calls may
/// change any field before it is finished. `progress` hears of bytes done and bytes in all.
///
/// # Errors
/// What is wrong first, in one sentence that says what to do.
pub fn from_adapter_dir(path: &Path, progress: Progress<'_>) -> Result<Draft, ReadError> {
    let adapter = directory::read(path, progress)?;
    let folder = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = folder.file_name().map_or_else(|| "adapter".into(), |name| name.to_string_lossy().into_owned());
    Ok(draft(adapter, &folder))
}

fn draft(adapter: Adapter, folder: &str) -> Draft {
    let Adapter { config, tensors, files, readme } = adapter;
    let readme = Readme::read(readme.as_deref().unwrap_or_default());
    let mut dtypes: Vec<_> = tensors.iter().map(|tensor| tensor.dtype.name()).collect();
    dtypes.sort_unstable();
    dtypes.dedup();
    let parameters = tensors.iter().map(|tensor| (tensor.end - tensor.begin) / tensor.dtype.width()).sum();
    let base_model = config.base_model.clone().filter(|id| !id.is_empty());
    let base_model = base_model.or_else(|| readme.one("base_model").map(str::to_owned));
    let targets = config.targets.names();
    let description = readme.first_paragraph().unwrap_or_else(|| {
        let base = base_model.as_deref().map_or_else(String::new, |base| format!(" for {base}"));
        format!("LoRA adapter{base} of rank {} on {}", config.rank, targets.join(", "))
    });
    Draft {
        name: line(readme.one("name").unwrap_or(folder), limits::NAME),
        version: readme
            .one("version")
            .filter(|version| semver::Version::parse(version).is_ok())
            .unwrap_or("1.0.0")
            .into(),
        kind: Kind::LORA,
        description: line(&description, DESCRIPTION),
        tags: list(readme.all("tags").iter().copied().filter(|tag| !tag.contains(':'))),
        languages: list(readme.all("language").iter().copied()),
        licence: readme.one("license").and_then(spdx),
        base_model: base_model.map(|id| BaseModel {
            id: line(&id, limits::MODEL),
            revision: config.revision.as_deref().map(|revision| line(revision, limits::MODEL)),
        }),
        adapter: Some(AdapterFacts {
            format: Some("safetensors".into()),
            rank: u32::try_from(config.rank).ok(),
            alpha: config.alpha.filter(|alpha| alpha.is_finite()),
            targets: list(targets.iter().map(String::as_str)),
            dtype: match dtypes.as_slice() {
                [one] => Some((*one).into()),
                _ => Some("mixed".into()),
            },
            parameters: Some(parameters),
        }),
        files,
    }
}

/// A text as a manifest takes it: without control characters, cut between characters.
fn line(text: &str, max: usize) -> String {
    let text = text.replace(char::is_control, " ");
    text.get(..text.floor_char_boundary(max)).unwrap_or_default().trim().to_owned()
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    texts.map(|text| line(text, limits::WORD)).filter(|text| !text.is_empty()).take(limits::LIST).collect()
}

/// The SPDX id for what model hubs write: lower case, and names of their own for licences that SPDX does not list.
fn spdx(hub: &str) -> Option<String> {
    const KNOWN: [&str; 28] = [
        "0BSD",
        "AGPL-3.0",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC-BY-2.0",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-ND-4.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-ND-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "EPL-2.0",
        "EUPL-1.2",
        "GPL-2.0",
        "GPL-3.0",
        "ISC",
        "LGPL-3.0",
        "MIT",
        "MPL-2.0",
        "ODbL-1.0",
        "PDDL-1.0",
        "Unlicense",
        "Zlib",
    ];
    let known = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(hub));
    let as_written = hub.chars().any(|letter| letter.is_ascii_uppercase()) || hub.contains(' ');
    match (known, hub) {
        (Some(known), _) => Some((*known).into()),
        (None, "other" | "unknown" | "") => None,
        // An id or expression that somebody wrote out.
        (None, _) if as_written => Some(line(hub, limits::LICENCE)),
        (None, _) => Some(line(&format!("LicenseRef-{hub}"), limits::LICENCE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_names_become_spdx_ids() {
        for (hub, id) in [
            ("apache-2.0", Some("Apache-2.0")),
            ("cc-by-nc-4.0", Some("CC-BY-NC-4.0")),
            ("gemma", Some("LicenseRef-gemma")),
            ("MIT OR Apache-2.0", Some("MIT OR Apache-2.0")),
            ("other", None),
        ] {
            assert_eq!(spdx(hub).as_deref(), id, "{hub}");
        }
    }
}
