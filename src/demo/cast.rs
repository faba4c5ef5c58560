//! Who plays: three node processes and the line between two of them, in homes of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use wend_commands::Command as NodeCommand;
use wend_commands::builtin::node;
use wend_packet::{DestinationHash, IdentityHash};

use crate::cli::{Exit, Report};
use crate::control::{Client, ControlError, Progress};
use crate::home::{Home, write_durably};
use crate::node::node_name;

/// Speed of the serial line, in bit/s.
pub(super) const LINE_BPS: u64 = 9600;
/// How long a node may take to answer.
const START: Duration = Duration::from_secs(10);

/// Children and the folder of the running demo, to end them when the story is interrupted.
static RUNNING: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

fn running() -> std::sync::MutexGuard<'static, Vec<(u32, PathBuf)>> {
    RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Asks all children to end, waits for that at most so long, and removes their folder.
pub(super) fn abandon(patience: Duration) {
    let children = std::mem::take(&mut *running());
    for (process, _) in &children {
        terminate(*process);
    }
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline && children.iter().any(|(process, _)| is_running(*process)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    for (_, folder) in children {
        drop(fs::remove_dir_all(folder));
    }
}

fn pid(process: u32) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(process).ok()?)
}

fn terminate(process: u32) {
    if let Some(pid) = pid(process) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn is_running(process: u32) -> bool {
    // A child that has ended and was not waited for yet still answers to signals; its command line is gone.
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// One player.
#[derive(Debug)]
pub(super) struct Player {
    pub name: &'static str,
    pub home: Home,
    pub identity: IdentityHash,
    pub destination: DestinationHash,
    child: Option<Child>,
}

impl Player {
    /// Makes its home and identity.
    pub(super) fn prepare(name: &'static str, stage: &Path) -> Result<Self, Report> {
        let home = Home::locate(Some(stage.join(name)))?;
        home.prepare()?;
        let identity = home.identity()?.hash();
        let destination = node_name().of(identity);
        Ok(Self { name, home, identity, destination, child: None })
    }

    /// Writes its config.
    pub(super) fn configure(&self, config: &str) -> Result<(), Report> {
        let path = self.home.config_file();
        write_durably(&path, config.as_bytes(), 0o600)
            .map_err(|error| Report::new(Exit::Negative, format!("cannot write {}: {error}", path.display())))
    }

    /// Starts it; returns how long it took until it answered.
    pub(super) fn start(&mut self, stage: &Path, model: Option<&Path>, keep: bool) -> Result<Duration, Report> {
        let mut command = Command::new(this_program()?);
        command.arg("--home").arg(self.home.dir()).args(["up", "--log", "info"]);
        if let Some(model) = model {
            command.arg("--model").arg(model);
        }
        let started = Instant::now();
        let child = launch(command, stage, &self.log(stage), keep)?;
        self.child = Some(child);
        loop {
            match self.ask(&node::Status {}, |_| {}) {
                Ok(_) => return Ok(started.elapsed()),
                Err(_) if started.elapsed() < START && self.is_alive() => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(report) => {
                    let last = fs::read_to_string(self.log(stage)).unwrap_or_default();
                    let last = last.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
                    return Err(Report::new(
                        Exit::Negative,
                        format!("{} did not start: {}; {last}", self.name, report.message),
                    ));
                }
            }
        }
    }

    fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(super) fn log(&self, stage: &Path) -> PathBuf {
        stage.join(format!("{}.log", self.name))
    }

    pub(super) fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Runs a command on it, as `wend` would.
    pub(super) fn ask<C: NodeCommand>(&self, command: &C, progress: impl FnMut(Progress)) -> Result<C::Reply, Report> {
        self.try_ask(command, progress).map_err(|error| {
            let mut report = Report::from(error);
            report.message = format!("{}: {}", self.name, report.message);
            report
        })
    }

    /// The same, for those who want to know how it failed.
    pub(super) fn try_ask<C: NodeCommand>(
        &self,
        command: &C,
        progress: impl FnMut(Progress),
    ) -> Result<C::Reply, ControlError> {
        Client::connect(&self.home)?.call(command, progress)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        end(self.child.take());
    }
}

/// The serial line and the process that carries it.
#[derive(Debug)]
pub(super) struct Line {
    pub ends: [PathBuf; 2],
    child: Option<Child>,
}

impl Line {
    pub(super) fn start(stage: &Path, keep: bool) -> Result<Self, Report> {
        let mut command = Command::new(this_program()?);
        command.arg("serial-line").arg(LINE_BPS.to_string()).stdout(Stdio::piped());
        let mut child = launch(command, stage, &stage.join("line.log"), keep)?;
        let mut lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        let mut next = || lines.as_mut().and_then(Iterator::next).and_then(Result::ok).map(PathBuf::from);
        match (next(), next()) {
            (Some(a), Some(b)) => Ok(Self { ends: [a, b], child: Some(child) }),
            _ => {
                end(Some(child));
                Err(Report::new(Exit::Negative, "the system has no pseudo-terminals for a serial line"))
            }
        }
    }

    pub(super) fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        end(self.child.take());
    }
}

/// Lets children run on after this process, and forgets them.
pub(super) fn set_free(players: &mut [&mut Player], line: &mut Line) {
    running().clear();
    for player in players {
        // Dropping a child leaves its process alone.
        drop(player.child.take());
    }
    drop(line.child.take());
}

/// Starts a child in a process group of its own, so that Ctrl-C reaches the demo alone and the demo ends its children.
fn launch(mut command: Command, stage: &Path, log: &Path, keep: bool) -> Result<Child, Report> {
    let failed = |error: std::io::Error| Report::new(Exit::Negative, format!("cannot start a node: {error}"));
    let log = File::create(log).map_err(failed)?;
    command.stderr(log).process_group(0);
    if keep {
        command.stdin(Stdio::null());
    } else {
        command.arg("--stop-with-stdin").stdin(Stdio::piped());
    }
    if command.get_args().all(|argument| argument != "serial-line") {
        command.stdout(Stdio::null());
    }
    let child = command.spawn().map_err(failed)?;
    running().push((child.id(), stage.to_owned()));
    Ok(child)
}

fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    running().retain(|(process, _)| *process != child.id());
    terminate(child.id());
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(child.kill());
    drop(child.wait());
}

/// The running file itself, which is still there under this name after a build has replaced it.
fn this_program() -> Result<PathBuf, Report> {
    let itself = PathBuf::from("/proc/self/exe");
    if itself.exists() {
        return Ok(itself);
    }
    std::env::current_exe().map_err(|error| Report::new(Exit::Negative, format!("cannot find this program: {error}")))
}

/// A TCP port on loopback that nobody uses now.
pub(super) fn free_port() -> Result<u16, Report> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound
        .map(|address| address.port())
        .map_err(|error| Report::new(Exit::Negative, format!("no TCP port is free: {error}")))
}
