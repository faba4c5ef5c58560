"""Links, requests, packets, channels and resources between two endpoints, direct or through a relay."""
import os
import random
import statistics
import time

from machine import cpu_seconds
from processes import HERE, Daemon, Peer, connects, free_port, listens, wait_port, write_reference_config

# How much is done in one sample: enough of it that a tick of 10 ms of processor time is little. The slower of the two
# ends decides.
COUNTS = {
    "slow": {"links": 100, "request-1": 500, "request-8": 1_000, "packet-1": 500, "packet-32": 1_000, "channel": 1_500},
    "fast": {"links": 1_000, "request-1": 10_000, "request-8": 20_000, "packet-1": 2_000, "packet-32": 5_000,
             "channel": 10_000},
}


def kinds(variant):
    """Client and server of a variant."""
    client, _, server = variant.partition(">")
    return client, server or client


class Net:
    """A client and a server that know each other; with `relay`, a transport node of the client's kind between them."""

    def __init__(self, programs, variant, relay):
        self.variant, self.relay = variant, None
        client, server = kinds(variant)
        self.counts = COUNTS["fast" if (client, server) == ("wend", "wend") else "slow"]
        port = free_port()
        near, far = programs.folder("client"), programs.folder("server")
        write_reference_config(near, [("cli", connects(port))])
        write_reference_config(far, [("srv", connects(port) if relay else listens(port))])
        self.client = self.server = None
        try:
            if relay:
                self.relay = Daemon(programs, client, [port])
                time.sleep(1)
            self.server = self._endpoint(programs, server, "server", far)
            destination = self.server.wait("ready", 60)["dest"]
            if not relay:
                wait_port(port, self.server.process)
            self.client = self._endpoint(programs, client, "client", near, destination)
            self.client.wait("ready", 60)
            time.sleep(1.5)
            self.server.call("announced", cmd="announce")
            found = self.client.call("path", 60, cmd="path")
            if not found["ok"]:
                raise RuntimeError(f"{variant}: no path")
            self.mtu = self.client.call("link", 30, cmd="link")["mtu"]
        except Exception:
            self.close()
            raise

    @staticmethod
    def _endpoint(programs, kind, role, folder, *arguments):
        program = {
            "reference": [programs.reference, os.path.join(HERE, "reference_endpoint.py")],
            "wend": [programs.path("benchnode")],
        }[kind]
        return Peer([*program, role, folder, *arguments], os.path.join(folder, "bench.log"))

    def close(self):
        for end in (self.client, self.server, self.relay):
            if end is not None:
                end.close()

    def _cpu(self):
        ends = [self.client, self.server] + ([self.relay] if self.relay else [])
        return [cpu_seconds(end.pid) for end in ends]

    def _measure(self, event, patience=200, **command):
        before = self._cpu()
        answer = self.client.call(event, patience, **command)
        used = [after - before for after, before in zip(self._cpu(), before)]
        return answer, used


def each(used, count):
    """Processor time for one of `count`, in microseconds, of all processes together."""
    return sum(used) * 1e6 / max(1, count)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def links(net):
    answer, used = net._measure("links", cmd="links", n=net.counts["links"])
    took = answer["lat"]
    # The tasks that follow need one that is open.
    net.client.call("link", 30, cmd="link")
    return {"median_ms": statistics.median(took), "per_s": len(took) / answer["seconds"], "failed": answer["fail"],
            "cpu_us": each(used, len(took))}


def requests(window):
    def measure(net):
        count = net.counts[f"request-{window}"]
        answer, used = net._measure("requests", cmd="requests", n=count, size=32, window=window)
        took = answer["lat"]
        # One at a time, the reference's waits for responses that it missed are left out.
        seconds = sum(took) / 1e3 if window == 1 else answer["seconds"]
        return {"per_s": len(took) / seconds, "p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99),
                "max_ms": max(took), "failed": answer["fail"], "cpu_us": each(used, len(took))}
    return measure


def stall(net):
    """Many requests, for the slowest of them."""
    count = 100_000
    answer, used = net._measure("requests", cmd="requests", n=count, size=32, window=8)
    took = answer["lat"]
    return {"max_ms": max(took), "p999_ms": percentile(took, 0.999), "per_s": len(took) / answer["seconds"],
            "failed": answer["fail"], "cpu_us": each(used, count)}


def packets(window):
    def measure(net):
        count = net.counts[f"packet-{window}"]
        answer, used = net._measure("packets", cmd="packets", n=count, size=32, window=window)
        delivered = answer["delivered"]
        return {"per_s": delivered / answer["seconds"], "p50_ms": percentile(answer["lat"], 0.5), "failed": answer["lost"],
                "cpu_us": each(used, delivered)}
    return measure


def channel(net):
    net.server.call("reset", cmd="reset")
    count = net.counts["channel"]
    answer, used = net._measure("channel", cmd="channel", n=count, size=32)
    received = net.server.call("stats", cmd="stats")["chan"]
    return {"per_s": received / answer["seconds"], "failed": count - received, "cpu_us": each(used, received)}


def resource(file, compress, always=False):
    """With `always`, what would be faster uncompressed is compressed as well."""
    def measure(net):
        size = os.path.getsize(file)
        answer, used = net._measure("resource", cmd="resource", file=file, compress=compress, always=always, tmo=180)
        if not answer["ok"]:
            net.client.call("link", 30, cmd="link")
            return {"failed": 1}
        return {"mb_per_s": size / 1e6 / answer["seconds"], "cpu_s_per_gb": sum(used) * 1e9 / size, "mtu": net.mtu,
                "failed": 0}
    return measure


def write_noise(path, size):
    """Bytes that do not compress; the same each time."""
    with open(path, "wb") as file:
        file.write(random.Random(size).randbytes(size))
    return path


def write_text(path, size):
    """Words, some far more often than others, as in texts; the same each time."""
    source = random.Random(size)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(source.choices(letters, range(26, 0, -1), k=source.randint(2, 10))) for _ in range(5_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    with open(path, "w") as file:
        written = 0
        while written < size:
            line = (" ".join(source.choices(words, weights, k=12)) + ".\n")[:size - written]
            file.write(line)
            written += len(line)
    return path
