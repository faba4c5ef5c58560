//! The reference implementation as an outside peer: `tests/peers/reference_node.py` in a process of its own.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Environment variable with the Python interpreter that has the reference; `tests/run` sets it.
const INTERPRETER: &str = "WEND_TEST_REFERENCE";
/// Seconds a command of the reference node may take that does not say so itself.
const PATIENCE_S: u64 = 15;
/// What an answer may take beyond its command's own limit: the interpreter starts, other tests run too.
const GRACE: Duration = Duration::from_secs(20);
/// After which the process ends by itself, whatever happened to the test.
const LIFETIME_S: u64 = 300;
/// Lines of what the process complained about that are shown when a test fails.
const COMPLAINTS: usize = 40;

/// The interpreter that has the reference, or `None` after saying aloud that the calling test is skipped.
pub(crate) fn interpreter() -> Option<PathBuf> {
    let interpreter = std::env::var_os(INTERPRETER).filter(|path| !path.is_empty()).map(PathBuf::from);
    if interpreter.is_none() {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        // Not `eprintln!`, which is shown of failed tests only.
        drop(writeln!(
            io::stderr(),
            "SKIPPED {test}: {INTERPRETER} names no Python with the reference; ./tests/run sets it"
        ));
    }
    interpreter
}

/// A running node of the reference, ended when this is dropped.
pub(crate) struct Reference {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    transport_id: String,
}

impl Reference {
    /// A node with these interfaces, in the form that `reference_node.py` documents; see [`tcp_client`] and its like.
    pub(crate) fn start(interpreter: &Path, transport: bool, interfaces: &[Value]) -> Self {
        Self::start_with(interpreter, transport, interfaces, &json!({}))
    }

    /// The same with further lines of its configuration, as a record.
    pub(crate) fn start_with(interpreter: &Path, transport: bool, interfaces: &[Value], options: &Value) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/reference_node.py");
        let log = std::env::var("WEND_TEST_REFERENCE_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(1);
        let arguments: [OsString; 3] = [script.into(), "--lifetime".into(), LIFETIME_S.to_string().into()];
        let mut child = Command::new(interpreter)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", interpreter.display()));
        let commands = child.stdin.take().expect("piped");
        let (sender, answers) = channel();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let (kept, lines) = (Arc::clone(&complaints), BufReader::new(child.stderr.take().expect("piped")).lines());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut kept = kept.lock().expect("nothing panics with it");
                if log == 1 && kept.len() == COMPLAINTS {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let mut node = Self { child, commands, answers, complaints, transport_id: String::new() };
        let started = node.ask(json!({
            "do": "start", "transport": transport, "interfaces": interfaces, "log": log, "options": options,
        }));
        node.transport_id = text(&started["transport_id"]);
        node
    }

    /// The hash that names it as next hop, and owner of its management destinations.
    pub(crate) fn transport_id(&self) -> &str {
        &self.transport_id
    }

    /// Sends a command and gives its answer, which must be a success.
    pub(crate) fn ask(&mut self, command: Value) -> Value {
        let shown = cut(&command.to_string());
        self.try_ask(command).unwrap_or_else(|error| panic!("the reference to {shown}: {error}"))
    }

    /// Sends a command and gives its answer, or the error it was answered with.
    pub(crate) fn try_ask(&mut self, command: Value) -> Result<Value, String> {
        let seconds = command["timeout"].as_u64().unwrap_or(PATIENCE_S) * command["attempts"].as_u64().unwrap_or(1);
        writeln!(self.commands, "{command}").map_err(|error| format!("it no longer listens: {error}"))?;
        let line = match self.answers.recv_timeout(Duration::from_secs(seconds) + GRACE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no answer from the reference to {}", cut(&command.to_string())),
            Err(RecvTimeoutError::Disconnected) => panic!("the reference ended at {}", cut(&command.to_string())),
        };
        let answer: Value = serde_json::from_str(&line).expect("answers are JSON");
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            _ => Err(answer["error"].as_str().unwrap_or("no reason given").to_owned()),
        }
    }

    /// Waits until so many interfaces are up.
    pub(crate) fn wait_up(&mut self, count: usize) {
        self.ask(json!({"do": "interfaces", "up": count}));
    }

    /// A destination of this node with request handlers; its hash.
    pub(crate) fn destination(&mut self, app: &str, aspects: &[&str], handlers: &Value) -> String {
        let made = self.ask(json!({"do": "destination", "app": app, "aspects": aspects, "handlers": handlers}));
        text(&made["destination"])
    }

    /// The hash of its main identity.
    pub(crate) fn identity(&mut self) -> String {
        text(&self.ask(json!({"do": "identity"}))["identity"])
    }

    /// Asks for a path until there is one; how many hops it has.
    pub(crate) fn find_path(&mut self, to: &str) -> u64 {
        let found = self.ask(json!({"do": "path", "destination": to, "request": true, "timeout": 25}));
        assert_eq!(found["path"], true, "the reference finds no path to {to}");
        found["hops"].as_u64().expect("a number")
    }

    /// Opens a link to a destination whose identity is known; its number.
    pub(crate) fn link(&mut self, to: &str, app: &str, aspects: &[&str]) -> u64 {
        let link = self.ask(json!({"do": "link", "destination": to, "app": app, "aspects": aspects, "timeout": 20}));
        link["link"].as_u64().expect("a number")
    }

    /// Sends a request; what is said of its response. `data` is in the form that `reference_node.py` documents.
    ///
    /// The reference now and then misses a response that comes at once, and asks again. On a busy machine one of 300 kB over
    /// two serial lines takes more than 20 s.
    pub(crate) fn request(&mut self, link: u64, path: &str, data: &Value) -> Value {
        let request = json!({"do": "request", "link": link, "path": path, "data": data, "timeout": 120, "attempts": 2});
        self.ask(request)["response"].clone()
    }

    /// Requests that arrived for `path`, once there are `count`.
    pub(crate) fn requests(&mut self, path: &str, count: usize) -> Vec<Value> {
        let seen = self.ask(json!({"do": "requests", "path": path, "count": count}));
        seen["requests"].as_array().expect("a list").clone()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            for line in self.complaints.lock().expect("nothing panics with it").iter() {
                eprintln!("reference {}: {line}", self.child.id());
            }
        }
    }
}

/// An interface that listens on this port of loopback.
pub(crate) fn tcp_server(port: u16) -> Value {
    json!({"type": "tcp_server", "port": port})
}

/// An interface that connects to this port of loopback.
pub(crate) fn tcp_client(port: u16) -> Value {
    json!({"type": "tcp_client", "port": port})
}

/// An interface at one end of a serial line.
pub(crate) fn serial(device: &Path, speed: u32) -> Value {
    json!({"type": "serial", "port": device, "speed": speed, "name": device.display().to_string().replace('/', " ")})
}

/// The text in an answer.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}
