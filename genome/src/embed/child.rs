//! The embedder in a process of its own: its 80 MB and its C++ runtime never live in the node, a crash there costs one
//! query, and it is gone after a minute without work. docs/decisions/0022-embedder-child.md.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::frame::{self, Answer};
use super::{EmbedError, Embedder, cut};
use crate::entry::{DIMS, SpaceId};

/// How long to wait for the embedder.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without work for so long it is ended.
    pub idle: Duration,
    /// For an answer, the loading of the model included.
    pub answer: Duration,
    /// For it to end after its input was closed, before it is killed.
    pub goodbye: Duration,
}

impl Default for Limits {
    /// 60 s idle, 30 s for an answer, 2 s to end.
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), answer: Duration::from_secs(30), goodbye: Duration::from_secs(2) }
    }
}

/// What to run as the embedder.
#[derive(Debug, Clone)]
pub struct ChildCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl ChildCommand {
    /// `program` with `arguments`; it must do what [`serve`](super::serve) does on its standard input and output.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// This binary itself, with the hidden subcommand `embed-child` and the folder of the model.
    pub fn this_binary(model: &Path) -> io::Result<Self> {
        // The running file itself, which is still there under this name after an upgrade has replaced it.
        let itself = PathBuf::from("/proc/self/exe");
        let program = if itself.exists() { itself } else { std::env::current_exe()? };
        Ok(Self::new(program, [OsString::from("embed-child"), model.into()]))
    }

    fn spawn(&self) -> Result<Child, EmbedError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // It gets texts and gives vectors: who runs it, where he lives and what else is set is none of its business.
        command.env_clear().env(super::NO_TELEMETRY.0, super::NO_TELEMETRY.1);
        command.spawn().map_err(|source| self.start_error(source))
    }

    fn start_error(&self, source: io::Error) -> EmbedError {
        EmbedError::Start { program: self.program.display().to_string(), source }
    }
}

/// An [`Embedder`] in a child process, started on the first text.
///
/// Dropping it ends the process. The process also ends by itself when this one is gone, because its input closes then.
#[derive(Debug)]
pub struct ChildEmbedder {
    command: ChildCommand,
    space: SpaceId,
    limits: Limits,
    running: Arc<Mutex<Option<Running>>>,
}

impl ChildEmbedder {
    /// An embedder of `space` that runs `command` when it is needed.
    pub fn new(command: ChildCommand, space: SpaceId, limits: Limits) -> Self {
        Self { command, space, limits, running: Arc::default() }
    }

    /// The process id of the embedder while it runs.
    pub fn process_id(&self) -> Option<u32> {
        locked(&self.running).as_ref().map(|running| running.child.id())
    }

    /// Ends the embedder now; the next text starts it again.
    pub fn end(&self) {
        if let Some(running) = locked(&self.running).take() {
            running.end(self.limits.goodbye);
        }
    }

    fn embed_one(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        // Held for one text: a search gets its turn in the middle of a long publication.
        let mut slot = locked(&self.running);
        let mut running = match slot.take() {
            Some(running) => running,
            None => self.start()?,
        };
        match running.ask(cut(text), self.limits.answer) {
            Ok(Answer::Vector(vector)) if vector.len() == DIMS && vector.iter().all(|value| value.is_finite()) => {
                *slot = Some(running);
                Ok(vector)
            }
            Ok(Answer::Refused(detail)) => {
                *slot = Some(running);
                Err(EmbedError::Refused { detail })
            }
            Ok(_) => {
                running.end(Duration::ZERO);
                Err(EmbedError::Nonsense { what: "no vector of 384 numbers" })
            }
            Err(failure) => Err(running.explain(failure, self.limits)),
        }
    }

    fn start(&self) -> Result<Running, EmbedError> {
        let (running, worked) = Running::spawn(&self.command)?;
        match running.answer(self.limits.answer) {
            Ok(Answer::Ready { space, .. }) if space != self.space => {
                running.end(self.limits.goodbye);
                Err(EmbedError::OtherSpace { expected: self.space, found: space })
            }
            Ok(Answer::Ready { dims, .. }) if usize::from(dims) == DIMS => {
                let (slot, limits) = (Arc::downgrade(&self.running), self.limits);
                match spawn_thread("embedder-idle", move || end_when_idle(&worked, &slot, limits)) {
                    Ok(()) => Ok(running),
                    Err(source) => {
                        running.end(limits.goodbye);
                        Err(self.command.start_error(source))
                    }
                }
            }
            Ok(Answer::Refused(detail)) => {
                running.end(self.limits.goodbye);
                Err(EmbedError::Refused { detail })
            }
            Ok(_) => {
                running.end(Duration::ZERO);
                Err(EmbedError::Nonsense { what: "no greeting" })
            }
            Err(failure) => Err(running.explain(failure, self.limits)),
        }
    }
}

impl Embedder for ChildEmbedder {
    fn space(&self) -> SpaceId {
        self.space
    }

    fn dims(&self) -> usize {
        DIMS
    }

    fn embed(&self, texts: &[&str], out: &mut Vec<f32>) -> Result<(), EmbedError> {
        for text in texts {
            out.extend(self.embed_one(text)?);
        }
        Ok(())
    }
}

impl Drop for ChildEmbedder {
    fn drop(&mut self) {
        self.end();
    }
}

/// Nothing is left half done under this lock, so a panic elsewhere does not spoil what it guards.
fn locked(running: &Mutex<Option<Running>>) -> MutexGuard<'_, Option<Running>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why no answer came.
enum Failure {
    /// It closed its output or did not take the text.
    Gone,
    /// It said something that is no answer.
    Nonsense,
    /// The time was over.
    Silent,
}

/// A process that runs, with the thread that reads its answers.
#[derive(Debug)]
struct Running {
    child: Child,
    /// Taken to end it.
    texts: Option<ChildStdin>,
    answers: Receiver<Option<Answer>>,
    /// Hears of every text, for the thread that watches the idle time. Dropped with the process.
    work: Sender<()>,
}

impl Running {
    fn spawn(command: &ChildCommand) -> Result<(Self, Receiver<()>), EmbedError> {
        let mut child = command.spawn()?;
        let (texts, output) = (child.stdin.take(), child.stdout.take());
        // At most one answer is ever outstanding, and the greeting.
        let (to_us, answers) = mpsc::sync_channel(2);
        let (work, worked) = mpsc::channel();
        let running = Self { child, texts, answers, work };
        let reading = output.map(|output| spawn_thread("embedder-answers", move || read_answers(output, &to_us)));
        match reading {
            Some(Err(source)) => {
                running.end(Duration::ZERO);
                Err(command.start_error(source))
            }
            _ => Ok((running, worked)),
        }
    }

    fn ask(&mut self, text: &str, patience: Duration) -> Result<Answer, Failure> {
        // Nobody hears it once the idle time is over, and then the process is on its way out.
        let _ = self.work.send(());
        let texts = self.texts.as_mut().ok_or(Failure::Gone)?;
        // Does not block: the text fits the empty pipe.
        frame::write(texts, text.as_bytes()).map_err(|_| Failure::Gone)?;
        self.answer(patience)
    }

    fn answer(&self, patience: Duration) -> Result<Answer, Failure> {
        match self.answers.recv_timeout(patience) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Failure::Nonsense),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Silent),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Gone),
        }
    }

    /// Closes its input, gives it `goodbye` to end, then kills it. Returns how it ended.
    fn end(mut self, goodbye: Duration) -> Option<std::process::ExitStatus> {
        drop(self.texts.take());
        // Its output closes when it ends; answers that nobody waits for any more may come before that.
        while !goodbye.is_zero() && matches!(self.answers.recv_timeout(goodbye), Ok(Some(_))) {}
        if !matches!(self.answers.try_recv(), Err(TryRecvError::Disconnected)) {
            let _ = self.child.kill();
        }
        self.child.wait().ok()
    }

    fn explain(self, failure: Failure, limits: Limits) -> EmbedError {
        match failure {
            Failure::Silent => {
                self.end(Duration::ZERO);
                EmbedError::Silent { seconds: limits.answer.as_secs() }
            }
            Failure::Nonsense => {
                self.end(Duration::ZERO);
                EmbedError::Nonsense { what: "a frame of no known kind" }
            }
            Failure::Gone => {
                let status = self.end(limits.goodbye).map_or_else(|| "unknown".to_owned(), |status| status.to_string());
                EmbedError::Ended { status }
            }
        }
    }
}

fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}

/// Ends the process when no text came for the idle time. Returns when the process has ended, by this or otherwise.
fn end_when_idle(worked: &Receiver<()>, running: &Weak<Mutex<Option<Running>>>, limits: Limits) {
    loop {
        match worked.recv_timeout(limits.idle) {
            Ok(()) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let Some(running) = running.upgrade() else { return };
        // Waits for a text under way, so ask again whether there was work.
        let mut slot = locked(&running);
        match worked.try_recv() {
            Ok(()) => {}
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // Under the lock, so that there are never two of them.
                if let Some(running) = slot.take() {
                    running.end(limits.goodbye);
                }
                return;
            }
        }
    }
}

/// Passes answers on until the process ends, `None` for what is no answer.
fn read_answers(mut output: ChildStdout, to: &SyncSender<Option<Answer>>) {
    loop {
        let answer = match frame::read(&mut output) {
            Ok(Some(bytes)) => Answer::decode(&bytes),
            Ok(None) => return,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(_) => return,
        };
        let ends = answer.is_none();
        if to.send(answer).is_err() || ends {
            return;
        }
    }
}
