"""What is measured, and what is to be reached."""
import os
from dataclasses import dataclass

import endpoints
import transport

REFERENCE, WEND = "reference", "wend"
# Client > server, with the reference at one end.
CROSS = ("wend>reference", "reference>wend")


@dataclass
class Figure:
    """One line of the table: the median over the runs of what a sample says under `key`."""
    title: str
    key: str
    unit: str
    # Ratio to the reference to be reached; below 1 where less is better.
    ratio: float = None
    # What is to be reached by itself.
    most: float = None
    digits: int = 0

    @property
    def less_is_better(self):
        return (self.ratio is not None and self.ratio < 1) or (self.ratio is None and self.most is not None)


@dataclass
class Row:
    """One measurement and the figures it gives."""
    name: str
    measure: callable
    figures: list
    # What `measure` gets: "direct" or "relay": a pair of endpoints; "fed": a running node; "kind": the kind's name.
    on: str = "direct"
    variants: tuple = (REFERENCE, WEND)
    runs: int = 5
    # What the processor time is said for, and which of the sample's values it is.
    cpu: tuple = ("cpu_us", "µs")

    @property
    def is_cross(self):
        return any(variant in CROSS for variant in self.variants)


BOTH_AND_CROSS = (REFERENCE, WEND, *CROSS)


def rows(programs):
    """All rows. The files they need are made when they are measured."""
    def file(name, write, megabytes):
        path = os.path.join(programs.scratch, name)
        return lambda: path if os.path.exists(path) else write(path, megabytes * 1_000_000)
    noise_10, noise_50 = file("noise-10", endpoints.write_noise, 10), file("noise-50", endpoints.write_noise, 50)
    text_10 = file("text-10", endpoints.write_text, 10)

    def resource(make, compress, always=False):
        return lambda net: endpoints.resource(make(), compress, always)(net)
    per_gb = ("cpu_s_per_gb", "s/GB")
    speed = "mb_per_s"
    return [
        Row("resource-10", resource(noise_10, False), [Figure("resource, 10 MB", speed, "MB/s", 6.5, digits=1)],
            variants=BOTH_AND_CROSS, cpu=per_gb, runs=9),
        Row("resource-50", resource(noise_50, False), [Figure("resource, 50 MB", speed, "MB/s", 6.5, digits=1)],
            cpu=per_gb, runs=3),
        Row("resource-10-relay", resource(noise_10, False),
            [Figure("resource, 10 MB, through a relay", speed, "MB/s", 5.5, digits=1)], on="relay", cpu=per_gb),
        Row("resource-50-relay", resource(noise_50, False),
            [Figure("resource, 50 MB, through a relay", speed, "MB/s", 5.5, digits=1)], on="relay", cpu=per_gb, runs=3),
        Row("resource-text", resource(text_10, True), [Figure("resource, 10 MB of text", speed, "MB/s", 2, digits=1)],
            variants=BOTH_AND_CROSS, cpu=per_gb, runs=3),
        Row("resource-compressed", resource(text_10, True, always=True),
            [Figure("resource, 10 MB of text, compressed on both sides", speed, "MB/s", 2, digits=1)], cpu=per_gb, runs=3),
        Row("links", endpoints.links, [Figure("link set-up, median", "median_ms", "ms", 1 / 3.5, digits=2),
                                       Figure("links, one after the other", "per_s", "/s", 5)], variants=BOTH_AND_CROSS),
        Row("request-1", endpoints.requests(1), [Figure("requests, 1 outstanding", "per_s", "/s", 15)],
            variants=BOTH_AND_CROSS),
        Row("request-8", endpoints.requests(8), [Figure("requests, 8 outstanding", "per_s", "/s", 50)],
            variants=BOTH_AND_CROSS),
        Row("packet-1", endpoints.packets(1), [Figure("proved packets, 1 outstanding", "per_s", "/s", 4)],
            variants=BOTH_AND_CROSS),
        Row("packet-32", endpoints.packets(32), [Figure("proved packets, 32 outstanding", "per_s", "/s", 30)],
            variants=BOTH_AND_CROSS),
        Row("channel", endpoints.channel, [Figure("channel messages", "per_s", "/s", 9)], variants=BOTH_AND_CROSS),
        Row("stall", endpoints.stall, [Figure("slowest of 100,000 requests, 8 outstanding", "max_ms", "ms", most=100)],
            variants=(WEND,), runs=3),
        Row("announces", transport.announces(programs, 10_000),
            [Figure("announces taken in and sent on", "per_s", "/s", 8),
             Figure("processor time for each", "cpu_us", "µs", most=40, digits=1)], on="kind", runs=3),
        Row("forward-100", transport.forward(100),
            [Figure("packets carried, 100 B", "per_s", "/s", 27),
             Figure("processor time for each", "cpu_us", "µs", most=0.8, digits=2)], on="fed"),
        Row("forward-500", transport.forward(500),
            [Figure("packets carried, 500 B", "per_s", "/s", 18),
             Figure("processor time for each", "cpu_us", "µs", most=0.8, digits=2)], on="fed"),
        Row("memory-20000", transport.announces(programs, 20_000),
            [Figure("memory for each of 20,000 paths", "bytes_each", "B", most=600)], on="kind", runs=1),
        Row("memory-100000", transport.announces(programs, 100_000),
            [Figure("memory for each of 100,000 paths", "bytes_each", "B", most=600)], on="kind", runs=1),
        Row("start", transport.start(programs),
            [Figure("start until listening, tiny build", "ms", "ms", most=5, digits=1),
             Figure("resident at rest, tiny build", "resident_mb", "MB", most=5, digits=2)], on="kind",
            cpu=None),
    ]
