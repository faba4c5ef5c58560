use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::adapter::{Fault, ReadError};
use crate::class::{BaseModelKey, LanguageClass, LicenceClass};
use crate::entry::{DIMS, Kind, QuantisedVector, SpaceId};
use crate::manifest::SignedManifest;
use crate::testing::{identity, now};
use core::time::Duration;
use wend_packet::time::UnixTime;

const LINE: &str = r#"{"id": "a003", "name": "rust-clippy-explainer-for-students", "version": "2.5.2", "kind": "lora", "base_model": "Qwen2.5-Coder-1.5B", "rank": 16, "alpha": 32, "targets": ["q_proj", "k_proj"], "license": "CC-BY-4.0", "languages": ["en"], "tags": ["rust", "lint"], "description": "Turns diagnostics into two plain sentences."}"#;

fn expiry() -> UnixTime {
    now().unix.plus(Duration::from_secs(30 * 24 * 3600))
}

#[test]
fn a_line_of_a_catalog_becomes_a_card_and_a_manifest() {
    let draft = from_jsonl(LINE, 1).unwrap();
    let text = "rust-clippy-explainer-for-students. Turns diagnostics into two plain sentences.. rust, lint";
    assert_eq!(draft.text(), text);
    let vector = QuantisedVector::from_f32(&core::array::from_fn::<f32, DIMS, _>(|index| (index as f32).sin()));
    let space = SpaceId([0x53, 0xaa, 0x51, 0x17]);
    let published = draft.finish(&identity(1), Some((space, vector)), 7, now(), expiry()).unwrap();
    let card = published.card.view();
    assert_eq!((card.name(), card.sequence(), card.expiry()), ("rust-clippy-explainer-for-", 7, expiry()));
    assert_eq!((card.kind(), card.licence(), card.size().0), (Kind::LORA, LicenceClass::ATTRIBUTION, 0));
    assert_eq!(
        (card.language(), card.base_model()),
        (LanguageClass(37), BaseModelKey::of_id("qwen/qwen2.5-coder-1.5b"))
    );
    assert_eq!((card.space(), card.sketch()), (Some(space), vector.sketch()));
    let manifest = SignedManifest::from_bytes(published.manifest.as_bytes()).unwrap();
    assert_eq!(manifest.check_card(&card), Ok(()));
    assert!(manifest.fields().is_described_only() && manifest.view().described_only);
    assert!(manifest.verify(identity(1).public()).is_ok());
    assert!((900..1100).contains(&(published.card.as_bytes().len() + published.manifest.as_bytes().len())));
}

#[test]
fn without_a_model_there_is_no_vector() {
    let published = from_jsonl(LINE, 1).unwrap().finish(&identity(1), None, 1, now(), expiry()).unwrap();
    assert_eq!(published.card.view().space(), None);
    assert_eq!(published.manifest.fields().vector, None);
}

#[test]
fn a_withdrawal_names_the_entry_and_keeps_its_place() {
    let published = from_jsonl(LINE, 1).unwrap().finish(&identity(1), None, 1, now(), expiry()).unwrap();
    let name = &published.manifest.fields().name;
    let tombstone = withdraw(&identity(1), published.card.id(), name, 2, expiry());
    let mut catalog = crate::catalog::Catalog::new(10, []);
    catalog.apply(now(), &published.card);
    let applied = catalog.apply(now(), &tombstone);
    assert_eq!(applied, crate::catalog::Applied::Newer { replaced: published.card.id() });
    assert_eq!(tombstone.view().withdraws(), Some(published.card.id()));
}

#[test]
fn mistakes_in_a_line_are_named() {
    let message = |from: &str, to: &str| {
        assert!(LINE.contains(from));
        from_jsonl(&LINE.replace(from, to), 3).unwrap_err().to_string()
    };
    for (from, to, wanted) in [
        (
            r#""lora""#,
            r#""adapter""#,
            r#"line 3, field `kind`: found "adapter"; accepted: lora, persona, dataset, service, embedder"#,
        ),
        (
            r#""lora""#,
            r#""tombstone""#,
            r#"line 3, field `kind`: found "tombstone"; accepted: lora, persona, dataset, service, embedder"#,
        ),
        (
            r#""license""#,
            r#""licence""#,
            "line 3, field `licence`: found a field that is not known; accepted: id, name,",
        ),
        ("16", "-1", "line 3, field `rank`: found -1; accepted: a whole number"),
        ("32", r#""x""#, r#"line 3, field `alpha`: found "x"; accepted: a number, or null"#),
        (r#"["en"]"#, r#""en""#, r#"line 3, field `languages`: found "en"; accepted: a list of texts"#),
        ("2.5.2", "two", r#"line 3, field `version`: found "two"; accepted: a semantic version"#),
        (r#""name""#, r#""id2""#, "line 3, field `id2`: found a field"),
        (
            r#""description": "Turns diagnostics into two plain sentences.""#,
            r#""description": null"#,
            "line 3, field `description`: found nothing; accepted: a text",
        ),
        ("rust-clippy", &"x".repeat(100), "line 3, field `name`: found 123 bytes long; accepted: 1 to 96 bytes"),
        ("}", "", "line 3 is not a JSON object"),
    ] {
        let message = message(from, to);
        assert!(message.starts_with(wanted), "{message}");
    }
    assert!(matches!(from_jsonl(&"x".repeat(70_000), 2), Err(JsonlError::TooLong { line: 2 })));
}

#[test]
fn a_catalog_file_is_read_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.jsonl");
    fs::write(&path, format!("{LINE}\n\n{{\"name\": 1}}\n{LINE}")).unwrap();
    let read: Vec<_> = open_jsonl(&path).unwrap().collect();
    assert_eq!(read.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let message = read[1].as_ref().unwrap_err().to_string();
    assert!(message.contains("catalog.jsonl: line 3, field `kind`: found nothing"), "{message}");
    let message = open_jsonl(&folder.path().join("none")).unwrap_err().to_string();
    assert!(message.starts_with("cannot read "), "{message}");
}

/// Runs the tool that writes adapters; `None` without a Python, which is said aloud.
fn made(folder: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/make_adapter.py");
    let out = folder.join("synthetic-adapter");
    let run = Command::new("python3")
        .arg(tool)
        .args(["--rank", "2", "--seed", "1"])
        .args(arguments)
        .arg("--out")
        .arg(&out)
        .output();
    match run {
        Ok(run) => {
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            Some(out)
        }
        Err(error) => {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            // Not `eprintln!`, which is shown of failed tests only.
            drop(std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("SKIPPED {test}: no python3 ({error})\n"),
            ));
            None
        }
    }
}

#[test]
fn an_adapter_folder_becomes_a_draft() {
    for (dtype, targets) in [("f16", "q_proj,v_proj"), ("f32", "down_proj")] {
        let folder = tempfile::tempdir().unwrap();
        let Some(out) = made(folder.path(), &["--dtype", dtype, "--targets", targets]) else { return };
        let mut heard = Vec::new();
        let draft = from_adapter_dir(&out, &mut |done, all| heard.push((done, all))).unwrap();
        assert_eq!(
            (draft.name.as_str(), draft.version.as_str(), draft.kind),
            ("synthetic-adapter", "1.0.0", Kind::LORA)
        );
        assert_eq!((draft.licence.as_deref(), &draft.languages[..]), (Some("CC0-1.0"), &["en".to_owned()][..]));
        assert_eq!(draft.tags, ["lora", "synthetic"]);
        assert_eq!(draft.base_model.as_ref().unwrap().id, "HuggingFaceTB/SmolLM2-135M");
        assert!(draft.description.starts_with("Right names, shapes and types for"), "{}", draft.description);
        let facts = draft.adapter.clone().unwrap();
        assert_eq!((facts.rank, facts.alpha, facts.dtype), (Some(2), Some(4.0), Some(dtype.to_uppercase())));
        let weights = fs::read(out.join("adapter_model.safetensors")).unwrap();
        let file = &draft.files[1];
        assert_eq!((file.path.as_str(), file.len), ("adapter_model.safetensors", weights.len() as u64));
        assert_eq!(file.blake3, *blake3::hash(&weights).as_bytes());
        assert_eq!(file.sha256, wend_packet::hash::sha256(&[&weights]));
        assert_eq!(heard.last(), Some(&(file.len, file.len)));
        let per_number = if dtype == "f16" { 2 } else { 4 };
        assert!(
            facts.parameters.unwrap() * per_number < file.len
                && facts.parameters.unwrap() * per_number * 11 / 10 > file.len
        );
        let published = draft.finish(&identity(1), None, 1, now(), expiry()).unwrap();
        assert!(!published.manifest.fields().is_described_only());
        assert!(SignedManifest::from_bytes(published.manifest.as_bytes()).is_ok());
        assert!(published.card.view().size().0 > 10);
    }
}

/// The error of an adapter that was broken in this way; its message must name the file and say what to do.
fn broken(kind: &str) -> Option<ReadError> {
    let folder = tempfile::tempdir().unwrap();
    let out = made(folder.path(), &["--broken", kind])?;
    let error = from_adapter_dir(&out, &mut |_, _| {}).unwrap_err();
    let message = error.to_string();
    eprintln!("{kind}: {message}");
    assert!(message.contains("adapter_") && message.contains(": ") && !message.contains('\n'), "{message}");
    Some(error)
}

fn fault(error: &ReadError) -> &Fault {
    match error {
        ReadError::Fault { fault, .. } => fault,
        _ => panic!("{error:?}"),
    }
}

macro_rules! broken_adapters {
    ($($test:ident: $kind:literal => $fault:pat,)*) => {$(
        #[test]
        fn $test() {
            let Some(error) = broken($kind) else { return };
            assert!(matches!(fault(&error), $fault), "{error:?}");
        }
    )*};
}

broken_adapters! {
    overlapping_tensors_are_refused: "overlapping-offsets" => Fault::Overlap { at: 0, .. },
    a_header_longer_than_the_file_is_refused: "header-too-long" => Fault::HeaderBeyondEnd { claimed: 100_000_001, .. },
    a_name_that_stands_twice_is_refused: "duplicate-keys" => Fault::DuplicateKey { .. },
    a_tensor_of_no_target_module_is_refused: "tensor-not-in-targets" => Fault::NotInTargets { .. },
    another_rank_than_configured_is_refused: "wrong-rank" => Fault::Rank { found: 2, wanted: 4, .. },
    a_file_that_was_cut_short_is_refused: "truncated" => Fault::BeyondEnd { .. },
    weights_that_are_no_numbers_are_refused: "nan-weights" => Fault::NotFinite { index: 0, value: "NaN", .. },
}

#[test]
fn pickles_are_refused_under_any_name() {
    let Some(error) = broken("pickle") else { return };
    assert!(matches!(error, ReadError::Pickle(_)), "{error:?}");
    let folder = tempfile::tempdir().unwrap();
    let out = made(folder.path(), &["--broken", "pickle"]).unwrap();
    fs::rename(out.join("adapter_model.bin"), out.join("adapter_model.safetensors")).unwrap();
    let error = from_adapter_dir(&out, &mut |_, _| {}).unwrap_err();
    assert!(matches!(fault(&error), Fault::Pickle), "{error:?}");
}

#[test]
fn folders_that_are_none_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| from_adapter_dir(path, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error(folder.path()).contains("has no adapter_model.safetensors: give the folder"));
    assert!(error(&folder.path().join("none")).contains("is not a directory"));
    fs::write(folder.path().join("adapter_model.safetensors"), [0; 16]).unwrap();
    assert!(error(folder.path()).contains("has no adapter_config.json"));
}
