//! Manifests of strangers: decoding never panics, and the signature of what decodes is checked over the bytes as they came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wend_genome::manifest::SignedManifest;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = SignedManifest::from_bytes(bytes) {
        assert_eq!(manifest.as_bytes(), bytes);
        drop(manifest.view());
    }
});
