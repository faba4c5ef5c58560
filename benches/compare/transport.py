"""A transport node as a black box: raw frames in, frames out, and what its process takes from the machine."""
import os
import subprocess
import time

from machine import resident_bytes
from processes import HERE, Daemon, Peer, free_port

# Packets and announces on their way at once.
WINDOW = 512
# How long a node is left alone before its memory counts as memory at rest, in seconds.
REST = 5


class Fed:
    """A transport node of one kind, with a feeder on two connections to it."""

    def __init__(self, programs, kind):
        ports = [free_port(), free_port()]
        self.kind, self.feeder = kind, None
        self.daemon = Daemon(programs, kind, ports, tuned=True)
        try:
            log = os.path.join(self.daemon.folder, "feed.log")
            first = announces_file(programs, 1, "home")
            with open(first, "rb") as file:
                announce = file.read()[2:]
            self.feeder = Peer([programs.path("benchfeed"), *map(str, ports), str(self.daemon.pid), announce.hex()], log)
            self.feeder.wait("ready", 30)
        except Exception:
            self.close()
            raise

    def close(self):
        if self.feeder is not None:
            self.feeder.close()
        self.daemon.close()


def announces_file(programs, count, seed="bench"):
    """Announces of `count` destinations, made once for both kinds. The reference's Python has what signs them."""
    path = os.path.join(programs.scratch, f"announces-{seed}-{count}")
    if not os.path.exists(path):
        subprocess.run([programs.reference, os.path.join(HERE, "announces.py"), str(count), seed, path], check=True)
    return path


def forward(size):
    def measure(fed):
        # Enough for both to run for about two seconds, made before the clock starts.
        packets = 150_000 if fed.kind == "reference" else 600_000
        answer = fed.feeder.call("forward", 120, cmd="forward", size=size, packets=packets, window=WINDOW, seconds=2.0)
        return {"per_s": answer["per_s"], "cpu_us": answer["cpu_us_each"], "failed": answer["lost"]}
    return measure


def announces(programs, count):
    """Taken in and sent on by a node that knew nothing. Gives what is kept of each, too."""
    def measure(kind):
        path = announces_file(programs, count)
        fed = Fed(programs, kind)
        try:
            answer = fed.feeder.call("announces", 300, cmd="announces", file=path, n=count, window=WINDOW, sample=1_000)
        finally:
            fed.close()
        return {"per_s": answer["per_s"], "cpu_us": answer["cpu_us_each_with_rebroadcast"],
                "bytes_each": answer["bytes_each"], "resident_mb": answer["resident"] / 1e6, "known": answer["known"],
                "rebroadcast": answer["rebroadcast"], "failed": answer["dropped_steps"]}
    return measure


def start(programs):
    """Time until a node that ran before listens again, and what it takes at rest."""
    folders = {}

    def measure(kind):
        port, program = free_port(), "wend-tiny"
        if kind not in folders:
            first = Daemon(programs, kind, [port], program=program, footprint="tiny")
            time.sleep(1)
            first.close()
            folders[kind] = (first.folder, port)
        folder, port = folders[kind]
        daemon = Daemon(programs, kind, [port], folder=folder, program=program)
        try:
            time.sleep(REST)
            return {"ms": daemon.seconds_to_listening * 1e3, "resident_mb": resident_bytes(daemon.pid) / 1e6, "failed": 0}
        finally:
            daemon.close()
    return measure
