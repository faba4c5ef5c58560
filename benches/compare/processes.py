"""Programs that are measured: how each is configured, started, spoken to and ended."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Programs:
    """Where things are."""

    def __init__(self, reference, programs, scratch):
        self.reference, self.programs, self.scratch = reference, programs, scratch
        self._folders = 0

    def path(self, name):
        return os.path.join(self.programs, name)

    def folder(self, name):
        self._folders += 1
        path = os.path.join(self.scratch, f"{self._folders}-{name}")
        os.makedirs(path)
        return path


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_port(port, process, patience=60):
    """Waits until something listens there; looks often, because starts are measured with it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.0002)
    raise RuntimeError(f"port {port} never opened")


def stop(process):
    """Ends a process of ours."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def write_reference_config(folder, interfaces, transport=False, tuned=False):
    """The reference's configuration, which our endpoint reads too. `tuned` turns off everything that holds announces
    back on purpose, and the bounds at which the reference drops what comes in."""
    lines = ["[reticulum]", f"enable_transport = {'Yes' if transport else 'No'}", "share_instance = No",
             "panic_on_interface_error = No"]
    if tuned:
        lines += ["qlen_in_data = 100000", "qlen_in_announce = 100000"]
    lines += ["", "[logging]", "loglevel = 2", "", "[interfaces]"]
    for name, options in interfaces:
        lines += [f"  [[{name}]]", "    enabled = Yes", "    interface_enabled = Yes"]
        if tuned:
            options = {**options, "ingress_control": "No", "announce_cap": 100, "bitrate": 1_000_000_000}
        lines += [f"    {key} = {value}" for key, value in options.items()]
    with open(os.path.join(folder, "config"), "w") as config:
        config.write("\n".join(lines) + "\n")


def listens(port):
    return {"type": "TCPServerInterface", "listen_ip": "127.0.0.1", "listen_port": port}


def connects(port):
    return {"type": "TCPClientInterface", "target_host": "127.0.0.1", "target_port": port}


def write_wend_config(home, ports, tuned=False, footprint="hub"):
    """A transport node of ours, with the same switches."""
    lines = ["[node]", "transport = true", f'footprint = "{footprint}"', "[catalog]", "sync = false"]
    for number, port in enumerate(ports):
        lines += ["[[interface]]", f'name = "p{number}"', 'type = "tcp-server"', f'listen = "127.0.0.1:{port}"']
        if tuned:
            lines += ["ingress_control = false", "announce_cap = 100.0", "bitrate = 1000000000"]
    with open(os.path.join(home, "config.toml"), "w") as config:
        config.write("\n".join(lines) + "\n")


class Daemon:
    """A transport node that listens on some ports."""

    def __init__(self, programs, kind, ports, tuned=False, folder=None, program="wend", footprint="hub"):
        """`kind` is "reference" or "wend". A `folder` of an earlier daemon is used as it is."""
        fresh = folder is None
        self.folder = folder or programs.folder(kind)
        if kind == "reference":
            if fresh:
                interfaces = [(f"p{number}", listens(port)) for number, port in enumerate(ports)]
                write_reference_config(self.folder, interfaces, transport=True, tuned=tuned)
            argv = [programs.reference, "-m", "RNS.Utilities.rnsd", "--config", self.folder]
        else:
            if fresh:
                write_wend_config(self.folder, ports, tuned, footprint)
            argv = [programs.path(program), "up", "--home", self.folder, "--log", "warn"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WEND_")}
        self.log = os.path.join(self.folder, "bench.log")
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.pid = self.process.pid
        try:
            for port in ports:
                wait_port(port, self.process)
        except RuntimeError:
            stop(self.process)
            with open(self.log, errors="replace") as log:
                raise RuntimeError(f"{kind} does not start: {log.read()[-2000:]}") from None
        self.seconds_to_listening = time.monotonic() - began

    def close(self):
        stop(self.process)


class Peer:
    """A child that speaks lines of JSON."""

    def __init__(self, argv, log):
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                                            bufsize=1)
        self.pid, self.log = self.process.pid, log
        self._answers, self._changed = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            self._put(answer)
        self._put({"ev": "ended"})

    def _put(self, answer):
        with self._changed:
            self._answers.append(answer)
            self._changed.notify_all()

    def wait(self, event, patience=120):
        end = time.monotonic() + patience
        with self._changed:
            while True:
                for index, answer in enumerate(self._answers):
                    if answer["ev"] == event:
                        return self._answers.pop(index)
                    if answer["ev"] in ("ended", "error"):
                        self._answers.pop(index)
                        raise RuntimeError(f"{event}: {answer}; see {self.log}: {self._tail()}")
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no {event} within {patience} s; see {self.log}: {self._tail()}")
                self._changed.wait(left)

    def _tail(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-500:]

    def call(self, event, patience=120, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.wait(event, patience)

    def close(self):
        stop(self.process)
