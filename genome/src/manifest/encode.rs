//! Writes manifests: a map whose keys ascend, with the signature last.

use rmp::encode;
use wend_packet::identity::SIGNATURE_LEN;

use super::{AdapterFacts, BaseModel, File, Manifest, VERSION};

/// Writing into a vector does not fail, so that results are let go here and nowhere else.
struct Writer(Vec<u8>);

impl Writer {
    fn map(&mut self, len: usize) {
        let _ = encode::write_map_len(&mut self.0, u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn array(&mut self, len: usize) {
        let _ = encode::write_array_len(&mut self.0, u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        let _ = encode::write_str(&mut self.0, text);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let _ = encode::write_bin(&mut self.0, bytes);
    }

    fn uint(&mut self, number: u64) {
        let _ = encode::write_uint(&mut self.0, number);
    }

    fn float(&mut self, number: f64) {
        let _ = encode::write_f64(&mut self.0, number);
    }

    fn texts(&mut self, texts: &[String]) {
        self.array(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }
}

type Entry<'a> = (&'static str, Box<dyn Fn(&mut Writer) + 'a>);

fn entry<'a>(key: &'static str, write: impl Fn(&mut Writer) + 'a) -> Option<Entry<'a>> {
    Some((key, Box::new(write)))
}

/// Writes the entries that are there, `extra` more counted in the head of the map.
fn map<const N: usize>(writer: &mut Writer, extra: usize, entries: [Option<Entry<'_>>; N]) {
    let entries: Vec<_> = entries.into_iter().flatten().collect();
    debug_assert!(entries.is_sorted_by(|(one, _), (next, _)| one < next), "keys ascend");
    writer.map(entries.len() + extra);
    for (key, write) in entries {
        writer.text(key);
        write(writer);
    }
}

/// Everything before the entry of the signature, which the head of the map counts already.
pub(super) fn unsigned(manifest: &Manifest) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(1024));
    map(
        &mut writer,
        1,
        [
            entry("at", |to| to.uint(manifest.created.0)),
            manifest.base_model.as_ref().and_then(|model| entry("base", |to| base_model(to, model))),
            entry("desc", |to| to.text(&manifest.description)),
            entry("files", |to| {
                to.array(manifest.files.len());
                manifest.files.iter().for_each(|one| file(to, one));
            }),
            entry("kind", |to| to.uint(manifest.kind.0.into())),
            entry("lang", |to| to.texts(&manifest.languages)),
            manifest.licence.as_ref().and_then(|licence| entry("lic", |to| to.text(licence))),
            manifest.adapter.as_ref().and_then(|facts| entry("lora", |to| adapter(to, facts))),
            entry("name", |to| to.text(&manifest.name)),
            entry("pub", |to| to.bytes(manifest.publisher.as_bytes())),
            entry("seq", |to| to.uint(manifest.sequence.into())),
            entry("tags", |to| to.texts(&manifest.tags)),
            entry("v", |to| to.uint(VERSION)),
            manifest.vector.as_ref().and_then(|(space, vector)| {
                entry("vec", |to| {
                    let space = |to: &mut Writer| to.bytes(&space.0);
                    map(to, 0, [entry("q", |to| to.bytes(&vector.to_bytes())), entry("sp", space)]);
                })
            }),
            entry("ver", |to| to.text(&manifest.version)),
        ],
    );
    writer.0
}

/// Appends the signature's entry.
pub(super) fn signature(bytes: &mut Vec<u8>, signature: &[u8; SIGNATURE_LEN]) {
    let mut writer = Writer(core::mem::take(bytes));
    writer.text("sig");
    writer.bytes(signature);
    *bytes = writer.0;
}

fn base_model(writer: &mut Writer, model: &BaseModel) {
    let revision = model.revision.as_ref().and_then(|revision| entry("rev", |to| to.text(revision)));
    map(writer, 0, [entry("id", |to| to.text(&model.id)), revision]);
}

fn adapter(writer: &mut Writer, facts: &AdapterFacts) {
    map(
        writer,
        0,
        [
            facts.alpha.and_then(|alpha| entry("a", move |to| to.float(alpha))),
            facts.dtype.as_ref().and_then(|dtype| entry("dt", |to| to.text(dtype))),
            facts.format.as_ref().and_then(|format| entry("fmt", |to| to.text(format))),
            facts.parameters.and_then(|parameters| entry("n", move |to| to.uint(parameters))),
            facts.rank.and_then(|rank| entry("r", move |to| to.uint(rank.into()))),
            entry("t", |to| to.texts(&facts.targets)),
        ],
    );
}

fn file(writer: &mut Writer, file: &File) {
    map(
        writer,
        0,
        [
            entry("b3", |to| to.bytes(&file.blake3)),
            entry("len", |to| to.uint(file.len)),
            entry("path", |to| to.text(&file.path)),
            entry("sha", |to| to.bytes(&file.sha256)),
        ],
    );
}
