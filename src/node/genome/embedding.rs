//! The embedder of this node: found when it is first needed, run in a child process, let go when idle.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wend_commands::{Code, Failure};
use wend_genome::embed::{ChildCommand, ChildEmbedder, Limits, embed_one};
use wend_genome::entry::{DIMS, SpaceId};
use wend_genome::model::{self, Model};

/// How long a node without a model waits before it looks for one again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum State {
    Unknown,
    Missing { since: Instant, why: String },
    Ready(Arc<ChildEmbedder>),
}

/// Finds and shares the embedder; cheap to clone. Its calls block: make them from a blocking task.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    chosen: Option<PathBuf>,
    home: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Embedding {
    /// The embedder of the model in `chosen`, or in the usual places of the node with this home.
    pub(crate) fn new(chosen: Option<PathBuf>, home: PathBuf) -> Self {
        Self { chosen, home, state: Arc::new(Mutex::new(State::Unknown)) }
    }

    /// The embedder, or why there is none. A model that is installed while the node runs is found.
    pub(crate) fn embedder(&self) -> Result<Arc<ChildEmbedder>, String> {
        if !cfg!(feature = "embeddings") {
            return Err("this build has no embedder".to_owned());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Ready(embedder) => return Ok(Arc::clone(embedder)),
            State::Missing { since, why } if since.elapsed() < LOOK_AGAIN => return Err(why.clone()),
            _ => {}
        }
        let found = Model::find(self.chosen.as_deref(), &self.home).map_err(|error| error.to_string());
        let ready = found.and_then(|model| {
            let command = ChildCommand::this_binary(model.folder()).map_err(|error| error.to_string())?;
            Ok(Arc::new(ChildEmbedder::new(command, model.space(), Limits::default())))
        });
        *state = match &ready {
            Ok(embedder) => State::Ready(Arc::clone(embedder)),
            Err(why) => State::Missing { since: Instant::now(), why: why.clone() },
        };
        ready
    }

    /// The vector of a text and its space.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn embed(&self, text: &str) -> Result<(SpaceId, Box<[f32; DIMS]>), String> {
        let embedder = self.embedder()?;
        let vector = embed_one(&*embedder, text).map_err(|error| error.to_string())?;
        Ok((wend_genome::embed::Embedder::space(&*embedder), Box::new(vector)))
    }

    /// The name of the model, when one was found.
    pub(crate) fn model_name(&self) -> Option<&'static str> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(_) => Some(model::NAME),
            _ => None,
        }
    }

    /// Ends the child, if it runs.
    pub(crate) fn end(&self) {
        if let State::Ready(embedder) = &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            embedder.end();
        }
    }
}

/// Runs something that blocks beside the tasks of the node.
pub(super) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(run).await.map_err(|_| Failure::new(Code::INTERNAL, "the work was broken off"))
}
