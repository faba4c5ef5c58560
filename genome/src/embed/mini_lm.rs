//! all-MiniLM-L6-v2 in this process, through the ONNX Runtime. docs/embedding.md, fastembed.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fastembed::{
    InitOptionsUserDefined, Pooling, QuantizationMode, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel,
};

use super::{EmbedError, Embedder, TOKENS_MAX, cut};
use crate::entry::{DIMS, SpaceId};
use crate::model::{Model, files};

/// The model, loaded. A node uses [`ChildEmbedder`](super::ChildEmbedder) instead: this holds some 80 MB and a runtime
/// that can take the whole process with it.
pub struct MiniLm {
    session: Mutex<TextEmbedding>,
    space: SpaceId,
}

impl std::fmt::Debug for MiniLm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MiniLm").field("space", &self.space).finish_non_exhaustive()
    }
}

impl MiniLm {
    /// Loads a model whose files have been checked. At most once in a process: the runtime does not allow more.
    pub fn load(model: &Model) -> Result<Self, EmbedError> {
        let read = |name: &str| {
            let path = model.folder().join(name);
            fs::read(&path).map_err(|error| refused(&format!("cannot read {}", path.display()), &error))
        };
        let environment = environment(&model.runtime())?;
        let tokenizer = TokenizerFiles {
            tokenizer_file: read(files::TOKENIZER)?,
            config_file: read(files::CONFIG)?,
            special_tokens_map_file: read(files::SPECIAL_TOKENS)?,
            tokenizer_config_file: read(files::TOKENIZER_CONFIG)?,
        };
        let definition = UserDefinedEmbeddingModel::new(read(files::MODEL)?, tokenizer)
            .with_pooling(Pooling::Mean)
            .with_quantization(QuantizationMode::None);
        let options = InitOptionsUserDefined::new()
            .with_environment(environment)
            .with_max_length(TOKENS_MAX)
            .with_intra_threads(1)
            // Without the arena what a long text needed is given back; threads that spin for work burn a battery.
            .with_execution_providers(vec![ort::ep::CPU::default().with_arena_allocator(false).build()])
            .with_session_config("session.intra_op.allow_spinning", "0");
        let session = TextEmbedding::try_new_from_user_defined(definition, options)
            .map_err(|error| refused("the model cannot be loaded", &error))?;
        Ok(Self { session: Mutex::new(session), space: model.space() })
    }
}

/// Opens the runtime library. Done explicitly, because the implicit way panics when it is missing.
fn environment(library: &Path) -> Result<ort::environment::Environment, EmbedError> {
    let (name, value) = super::NO_TELEMETRY;
    if std::env::var_os(name).is_none_or(|set| set != value) {
        return Err(EmbedError::Refused {
            detail: format!("the runtime would report to its maker: it is only loaded with {name}={value}"),
        });
    }
    let built = ort::init_from(library)
        .map_err(|error| refused(&format!("the runtime {} cannot be loaded", library.display()), &error))?;
    built.with_telemetry(false).build().map_err(|error| refused("the runtime does not start", &error))
}

fn refused(what: &str, why: &dyn std::fmt::Display) -> EmbedError {
    EmbedError::Refused { detail: format!("{what}: {why}") }
}

impl Embedder for MiniLm {
    fn space(&self) -> SpaceId {
        self.space
    }

    fn dims(&self) -> usize {
        DIMS
    }

    fn embed(&self, texts: &[&str], out: &mut Vec<f32>) -> Result<(), EmbedError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            // One text for each run: results of the int8 model depend on what else is in the batch.
            let rows =
                session.embed([cut(text)], None).map_err(|error| refused("the text cannot be embedded", &error))?;
            let row = rows.into_iter().next().unwrap_or_default();
            if row.len() != DIMS || !row.iter().all(|value| value.is_finite()) {
                return Err(EmbedError::Nonsense { what: "no vector of 384 numbers" });
            }
            out.extend(row);
        }
        Ok(())
    }
}
