//! Real nodes: `wend up` in a process of its own, and the other subcommands that talk to it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use wend_mesh::home::Home;
use wend_mesh::node::node_name;
use wend_packet::{DestinationHash, IdentityHash};

/// How long a node may take until its control socket answers. It should take 300 ms; this is for busy machines.
const START: Duration = Duration::from_secs(20);
/// How long a node may take to stop after it was asked to.
const STOP: Duration = Duration::from_secs(15);
/// How long a subcommand may run.
const COMMAND: Duration = Duration::from_secs(90);
/// How often a process or a socket is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Lines of a node's log that are shown when a test fails.
const LOG_LINES: usize = 60;

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Its standard output as one JSON document; the program must have succeeded.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "it should have succeeded: {self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// The `wend` program with nothing inherited that would change what it does: no home, model, or log filter of the person
/// who runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wend"));
    for name in ["WEND_HOME", "WEND_MODEL", "WEND_LOG"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a program to its end, within a limit.
pub(crate) fn finish(mut command: Command, limit: Duration) -> Ended {
    let shown = format!("{command:?}");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let Some(status) = wait(&mut child, limit) else {
        drop(child.kill());
        drop(child.wait());
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        panic!("{shown} did not end within {limit:?}; it said: {stdout}{stderr}");
    };
    let said = |thread: thread::JoinHandle<String>| thread.join().expect("reading does not panic");
    Ended { code: status.code(), stdout: said(stdout), stderr: said(stderr) }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            drop(pipe.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => return Some(status),
            None if Instant::now() >= until => return None,
            None => thread::sleep(POLL),
        }
    }
}

/// A node in a home of its own, running or not. Dropping it kills the process and removes the home; the process also ends
/// with this one. When a test fails, the end of its log is printed.
#[derive(Debug)]
pub(crate) struct Node {
    folder: TempDir,
    home: Home,
    config: String,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Node {
    /// A node that is not running yet. `config` is the whole of its `config.toml`: without an `[[interface]]` it has none.
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("wend-test-").tempdir().expect("a temporary folder");
        let home = folder.path().join("home");
        Self::with_home(folder, home, config)
    }

    /// The same with its home in a folder of the test's choice, which stays when the node is dropped; its log is elsewhere.
    pub(crate) fn at(home: &Path, config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("wend-test-").tempdir().expect("a temporary folder");
        Self::with_home(folder, home.to_owned(), config)
    }

    fn with_home(folder: TempDir, home: PathBuf, config: &str) -> Self {
        let home = Home::locate(Some(home)).expect("a path was given");
        home.prepare().expect("the home can be made");
        let node = Self { folder, home, config: config.to_owned(), arguments: Vec::new(), child: None };
        node.configure(config);
        node
    }

    /// A node that runs and answers.
    pub(crate) fn start(config: &str) -> Self {
        let mut node = Self::new(config);
        node.run();
        node
    }

    /// The same with further arguments to `wend up`, from its next start on.
    #[must_use]
    pub(crate) fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// Replaces its config; a running node does not notice.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.home.config_file(), config).expect("the config can be written");
    }

    /// Starts `wend up` and waits until its control socket answers; says how long that took.
    pub(crate) fn run(&mut self) -> Duration {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log");
        let started = Instant::now();
        let mut command = self.wend();
        command.args(["up", "--stop-with-stdin"]);
        if !self.arguments.iter().any(|argument| argument == "--log") {
            command.args(["--log", "debug"]);
        }
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let child = self.child.insert(command.spawn().expect("the program starts"));
        // A file that an earlier run left refuses connections.
        while UnixStream::connect(self.home.control_socket()).is_err() {
            if let Some(status) = child.try_wait().expect("it is our child") {
                self.child = None;
                panic!("the node ended ({status}): {}", self.log());
            }
            assert!(started.elapsed() < START, "no control socket within {START:?}");
            thread::sleep(POLL);
        }
        started.elapsed()
    }

    /// Ends it as a crash would: it gets no chance to store or say anything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
        }
    }

    /// Ends it as a person or a service manager would, and gives its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.process()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("it is our child");
        let mut child = self.child.take().expect("it runs");
        let Some(status) = wait(&mut child, STOP) else {
            drop(child.kill());
            drop(child.wait());
            panic!("the node did not stop within {STOP:?}");
        };
        status.code()
    }

    /// Whether its process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// `wend` with its home, to be given a subcommand.
    pub(crate) fn wend(&self) -> Command {
        let mut command = program();
        command.arg("--home").arg(self.home.dir());
        command
    }

    /// Runs a subcommand.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        let mut command = self.wend();
        command.args(arguments);
        finish(command, COMMAND)
    }

    /// Runs a subcommand that must succeed, with `--json`; its result.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Value {
        let mut command = self.wend();
        command.args(arguments).arg("--json");
        finish(command, COMMAND).json()
    }

    /// Runs a subcommand with `--json` again and again until `enough` says so of its result; that result. Failures count as
    /// not yet.
    pub(crate) fn wait_json<S: AsRef<OsStr>>(
        &self,
        what: &str,
        arguments: &[S],
        patience: Duration,
        enough: impl Fn(&Value) -> bool,
    ) -> Value {
        let until = Instant::now() + patience;
        loop {
            let mut command = self.wend();
            command.args(arguments).arg("--json");
            let ended = finish(command, COMMAND);
            match serde_json::from_str(&ended.stdout) {
                Ok(value) if ended.code == Some(0) && enough(&value) => return value,
                _ => assert!(Instant::now() < until, "{what}: not within {patience:?}; last {ended:?}"),
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until so many of its interfaces are up.
    pub(crate) fn wait_up(&self, count: usize) {
        self.wait_json("interfaces are up", &["status"], START, |status| {
            let interfaces = status["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
            interfaces.iter().filter(|interface| interface["up"] == true).count() >= count
        });
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// A folder beside its home, for files of the test; removed with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Who it is; made by its first start, or by this.
    pub(crate) fn identity(&self) -> IdentityHash {
        self.home.identity().expect("its identity can be read").hash()
    }

    /// Where it is reached.
    pub(crate) fn destination(&self) -> DestinationHash {
        node_name().of(self.identity())
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Memory of its process, in bytes.
    pub(crate) fn memory(&self) -> Memory {
        memory_of(self.process())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
                eprintln!("node {}: {line}", self.home.dir().display());
            }
            eprintln!("its config was:\n{}", self.config);
        }
    }
}

/// Resident memory of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now_bytes: u64,
    /// The most it ever had.
    pub(crate) peak_bytes: u64,
}

/// Resident memory of a process, as Linux counts it.
pub(crate) fn memory_of(process: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.unwrap_or_else(|error: io::Error| panic!("process {process}: {error}"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    };
    Memory { now_bytes: field("VmRSS:"), peak_bytes: field("VmHWM:") }
}

/// An `[[interface]]` that listens on this port of loopback.
pub(crate) fn tcp_server(port: u16) -> String {
    format!("[[interface]]\nname = \"server\"\ntype = \"tcp-server\"\nlisten = \"127.0.0.1:{port}\"\n")
}

/// An `[[interface]]` that connects to this port of loopback.
pub(crate) fn tcp_client(port: u16) -> String {
    format!("[[interface]]\nname = \"to {port}\"\ntype = \"tcp-client\"\nconnect = \"127.0.0.1:{port}\"\n")
}

/// An `[[interface]]` at one end of a serial line.
pub(crate) fn serial(device: &Path, speed: u32) -> String {
    let device = device.display();
    format!("[[interface]]\nname = \"{device}\"\ntype = \"serial\"\nport = \"{device}\"\nspeed = {speed}\n")
}
