//! Models that are whole, damaged, foreign and absent. The real one is used where `WEND_TEST_MODEL` names it.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;

/// A folder that looks like a prepared model, with a few bytes for each file, of a system without a pinned runtime.
fn small(folder: &Path) -> PathBuf {
    let folder = folder.join("small");
    fs::create_dir(&folder).unwrap();
    let mut hashes = serde_json::Map::new();
    for name in files::ALL.into_iter().chain(["runtime.dll"]) {
        fs::write(folder.join(name), format!("content of {name}")).unwrap();
        hashes.insert(name.to_owned(), assets::sha256_of(&folder.join(name)).unwrap().into());
    }
    let assets = serde_json::json!({
        "space": NAME, "space_sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "dimensions": 384, "runtime": "runtime.dll", "sha256": hashes,
    });
    fs::write(folder.join(files::ASSETS), assets.to_string()).unwrap();
    folder
}

fn assets_of(folder: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(folder.join(files::ASSETS)).unwrap()).unwrap()
}

fn real() -> Option<PathBuf> {
    let found = std::env::var_os("WEND_TEST_MODEL").map(PathBuf::from);
    if found.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Not `eprintln!`, which is shown of failed tests only.
        drop(writeln!(std::io::stderr(), "SKIPPED {test}: WEND_TEST_MODEL names no prepared model"));
    }
    found
}

#[test]
fn where_no_model_is_the_error_says_where_it_looked_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let error = Model::find(Some(&home), &home).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&home.display().to_string()) && text.contains("`wend model install`"), "{text}");
    assert!(matches!(Model::open(&home), Err(ModelError::NotInstalled { .. })));
}

#[test]
fn a_glance_looks_at_what_is_there_and_hashes_nothing() {
    let place = tempfile::tempdir().unwrap();
    assert!(matches!(Model::glance(Some(place.path()), place.path()), Err(ModelError::NotInstalled { .. })));
    let folder = small(place.path());
    // A change that only hashing would find: the next check is reached, which this pretended model does not pass.
    fs::write(folder.join(files::CONFIG), "changed").unwrap();
    assert!(matches!(Model::glance(Some(&folder), place.path()), Err(ModelError::OtherModel { .. })));
    fs::remove_file(folder.join(files::TOKENIZER)).unwrap();
    let error = Model::glance(Some(&folder), place.path()).unwrap_err();
    assert!(matches!(error, ModelError::Damaged { fault: Fault::Missing, .. }), "{error}");
}

#[test]
fn the_home_comes_before_the_folders_of_the_system() {
    let system = OsString::from("/opt/share:relative:/usr/share");
    let found = places(Path::new("/home/a/.wend"), Some(&system));
    let expected = ["/home/a/.wend/models", "/opt/share/wend/models", "/usr/share/wend/models"];
    assert_eq!(found, expected.map(|place| Path::new(place).join(NAME)));
    assert_eq!(places(Path::new("/h"), None).len(), 3);
}

#[test]
fn another_model_under_this_name_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let error = Model::open(&small(folder.path())).unwrap_err();
    assert!(matches!(&error, ModelError::OtherModel { file, .. } if file == files::MODEL), "{error}");
    let copied = folder.path().join("copied");
    assert!(matches!(
        install_from(&folder.path().join("small"), &copied, &mut |_| ()),
        Err(ModelError::OtherModel { .. })
    ));
    assert!(!copied.exists());
}

#[test]
fn an_assets_file_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = small(folder.path());
    let good = assets_of(&place);
    let with = |pointer: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let mut outside = good.clone();
    outside["sha256"]["../../etc/passwd"] = "00".into();
    let bad = [
        String::new(),
        "[]".to_owned(),
        "{\"space\": 1}".to_owned(),
        with("/dimensions", 768.into()),
        with("/space_sha256", "53aa".into()),
        with("/runtime", "elsewhere.so".into()),
        with("/sha256", serde_json::json!({})),
        outside.to_string(),
        " ".repeat(100_000) + &good.to_string(),
    ];
    for text in bad {
        fs::write(place.join(files::ASSETS), &text).unwrap();
        let error = Model::open(&place).unwrap_err();
        assert!(matches!(error, ModelError::Assets { .. }), "{text}: {error}");
        assert!(error.to_string().contains("wend model install"), "{error}");
    }
}

#[test]
fn files_are_hashed_once_and_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let place = small(folder.path());
    let assets = Assets::read(&place).unwrap();
    let check = |how| assets::check_files(&place, &assets, how);
    check(assets::Thoroughness::OncePerChange).unwrap();

    let file = place.join(files::TOKENIZER);
    let times = fs::metadata(&file).unwrap().modified().unwrap();
    let length = fs::metadata(&file).unwrap().len() as usize;
    fs::write(&file, "x".repeat(length)).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
    // Same size, same time: believed, which is what makes a start quick. A thorough look still finds it.
    check(assets::Thoroughness::OncePerChange).unwrap();
    let error = check(assets::Thoroughness::Everything).unwrap_err();
    assert!(matches!(&error, ModelError::Damaged { file, fault: Fault::Changed, .. } if file == files::TOKENIZER));
    assert!(error.to_string().contains("tokenizer.json is not as it was prepared"), "{error}");

    fs::write(&file, "shorter").unwrap();
    assert!(matches!(
        check(assets::Thoroughness::OncePerChange),
        Err(ModelError::Damaged { fault: Fault::Changed, .. })
    ));
    fs::remove_file(&file).unwrap();
    assert!(matches!(
        check(assets::Thoroughness::OncePerChange),
        Err(ModelError::Damaged { fault: Fault::Missing, .. })
    ));
}

#[test]
fn the_note_of_what_was_hashed_may_be_anything() {
    let folder = tempfile::tempdir().unwrap();
    let place = small(folder.path());
    let assets = Assets::read(&place).unwrap();
    for note in ["", "{}", "nonsense", "{\"model_q8.onnx\": 3}"] {
        fs::write(place.join(".checked.json"), note).unwrap();
        assets::check_files(&place, &assets, assets::Thoroughness::OncePerChange).unwrap();
    }
}

#[test]
fn without_python_or_venv_the_error_says_what_is_missing() {
    assert!(matches!(install::check_python("/no/such/python3"), Err(ModelError::NoPython)));
    let folder = tempfile::tempdir().unwrap();
    let python = script(folder.path(), "echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1");
    let error = install::check_python(&python).unwrap_err().to_string();
    assert!(error.contains("ensurepip") && error.contains("python3-venv"), "{error}");
}

#[test]
fn a_failed_preparation_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let unreachable = "echo \"WARNING: Failed to establish a new connection: Name or service not known\" >&2; exit 1";
    let python = script(folder.path(), unreachable);
    let error = install::prepare(&python, Path::new("prepare.py"), &made).unwrap_err();
    assert!(
        matches!(&error, ModelError::NoNetwork { .. }) && error.to_string().contains("check the network"),
        "{error}"
    );
    let python =
        script(folder.path(), "echo one >&2; echo \"model.safetensors: SHA-256 is 00, expected 53\" >&2; exit 1");
    let error = install::prepare(&python, Path::new("prepare.py"), &made).unwrap_err();
    assert_eq!(error.to_string(), "preparing the model failed: model.safetensors: SHA-256 is 00, expected 53");
}

/// An executable that stands in for python3.
fn script(folder: &Path, body: &str) -> String {
    let path = folder.join("python3");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    path.display().to_string()
}

#[test]
fn the_prepared_model_opens_and_a_copy_replaces_a_damaged_one() {
    let Some(prepared) = real() else { return };
    let model = Model::open(&prepared).unwrap();
    assert_eq!(model.space(), crate::embed::MINI_LM);
    assert!(model.runtime().is_file() && model.size_bytes() > 20_000_000);

    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("models").join(NAME);
    let mut steps = Vec::new();
    install_from(&prepared, &place, &mut |step| steps.push(step)).unwrap();
    assert_eq!(steps, [Step::Copy, Step::Verify, Step::Place]);
    assert_eq!(Model::find(None, folder.path()).unwrap().folder(), place);

    fs::write(place.join(files::MODEL), b"not a network").unwrap();
    let error = Model::find(None, folder.path()).unwrap_err();
    assert!(matches!(&error, ModelError::Damaged { file, .. } if file == files::MODEL), "{error}");
    // A damaged source changes nothing at the place.
    let copy = folder.path().join("elsewhere");
    assert!(matches!(install_from(&place, &copy, &mut |_| ()), Err(ModelError::Damaged { .. })));
    assert!(!copy.exists());
    install_from(&prepared, &place, &mut |_| ()).unwrap();
    Model::verify(&place).unwrap();
    let left: Vec<_> = fs::read_dir(place.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [OsString::from(NAME)]);
}

#[test]
#[ignore = "fetches 150 MB and takes a minute: for whoever changes prepare.py or a pin"]
fn the_script_prepares_the_pinned_model() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("models").join(NAME);
    let model = install(&place, &mut |step| println!("{step:?}")).unwrap();
    assert_eq!((model.folder(), model.space()), (place.as_path(), crate::embed::MINI_LM));
    let left: Vec<_> = fs::read_dir(place.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [OsString::from(NAME)]);
}
