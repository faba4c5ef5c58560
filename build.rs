//! How a program for small machines is linked: what a node at rest runs lies side by side, so that the pages of the rest are
//! never resident, and the C library is part of the program, so that only what is used of it is.
//! docs/decisions/0066-linked-for-small-machines.md.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which functions to put side by side.
const LAYOUT: &str = "layout/at-rest.ld";

/// What a program that carries its C library is made of.
const STATIC: [&str; 4] = ["rcrt1.o", "libc.a", "libm.a", "libgcc_eh.a"];

/// Libraries that rustc names, and where the linker finds what is in them. The files of newer C libraries are empty but for
/// `c` and `m`, but they are there.
const FOUND_IN: [(&str, &str); 7] = [
    ("gcc_s", "GROUP ( -l:libgcc_eh.a -l:libgcc.a )"),
    ("c", "GROUP ( -l:libc.a -l:libgcc_eh.a -l:libgcc.a )"),
    ("m", "GROUP ( -l:libm.a -l:libc.a )"),
    ("util", "INPUT ( -l:libutil.a )"),
    ("rt", "INPUT ( -l:librt.a )"),
    ("pthread", "INPUT ( -l:libpthread.a )"),
    ("dl", "INPUT ( -l:libdl.a )"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    // Only the profile for small machines is built for size. Linkers for other systems read no such scripts.
    if !is("OPT_LEVEL", &["s", "z"]) || !is("CARGO_CFG_TARGET_OS", &["linux"]) {
        return;
    }
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", folder.join(LAYOUT).display());
    // Drivers and the embedding runtime are loaded while the program runs: such a one needs the C library they need.
    let loads = ["CARGO_FEATURE_EMBEDDINGS", "CARGO_FEATURE_NVML"].iter().any(|feature| env::var_os(feature).is_some());
    if is("CARGO_CFG_TARGET_ENV", &["gnu"]) && !loads && !is_static_already() {
        match lacking() {
            None => link_statically(&PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("static")),
            Some(file) => println!(
                "cargo::warning=the C compiler has no {file}: the program loads the C library when it starts, and more than \
                 1 MB more is resident"
            ),
        }
    }
}

fn is(name: &str, values: &[&str]) -> bool {
    env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
}

/// Whether rustc has been told to do the same.
fn is_static_already() -> bool {
    env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|features| features.split(',').any(|one| one == "crt-static"))
}

/// The first part of a static program that the C compiler, which is the linker, does not have.
fn lacking() -> Option<&'static str> {
    // Without a linker for the target, rustc uses the machine's own.
    let compiler = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    STATIC.into_iter().find(|file| {
        let asked = Command::new(&compiler).arg(format!("-print-file-name={file}")).output();
        // It repeats the bare name when there is no such file.
        !asked.is_ok_and(|answer| Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_absolute())
    })
}

/// What `-C target-feature=+crt-static` does, which a profile cannot ask for: rustc names the libraries to load, the linker
/// finds scripts under their names, and takes the archives.
fn link_statically(folder: &Path) {
    let written = fs::create_dir_all(folder).and_then(|()| {
        FOUND_IN.iter().try_for_each(|(name, script)| fs::write(folder.join(format!("lib{name}.so")), script))
    });
    match written {
        Ok(()) => {
            println!("cargo::rustc-link-arg-bins=-L{}", folder.display());
            println!("cargo::rustc-link-arg-bins=-static-pie");
        }
        Err(error) => println!("cargo::warning=cannot write {}: {error}", folder.display()),
    }
}
