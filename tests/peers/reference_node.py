#!/usr/bin/env python3
"""A node of the reference implementation, driven by JSON lines: one command per line in, one answer per line out.

    python3 reference_node.py [--lifetime SECONDS]

An answer is `{"ok": true, ...}` or `{"ok": false, "error": text}` and carries the command's `id`, if it has one. Commands
run one after the other. Every wait ends: after `timeout` seconds (15 where a command does not say), and the whole program
after its lifetime (600) or when its input ends. All hashes and bytes are hexadecimal text. Logs go to standard error.

| do | takes | gives |
| --- | --- | --- |
| start | interfaces (list, below), transport (false), log (1, up to 7), options (record of further `[reticulum]` lines) | rns: version, transport_id |
| interfaces | up, ifac_violations (wait for so many), timeout | interfaces: name, up, rx_bytes, tx_bytes, ifac_violations |
| blackhole | identity (hex), reason, hours | |
| identity | name ("main"), load (file) or save (file); made when unknown | identity, public_key |
| destination | app, aspects, identity ("main"), handlers (list, below), type ("single", "group", "plain"), key (hex, of a group), ratchets (file, in the node's folder), enforce (false), accept ("none", "all", "app": resources on its links) | destination, identity, key |
| rotate | destination | ratchets: how many are retained |
| send | destination, app, aspects, data (below), type, key, proof (false: wait for it), timeout | proved |
| packets | destination, count (wait for so many), timeout | packets: data (below), ratchet (id or null) |
| announce | destination, app_data (hex) | |
| wait_announce | destination, count (1; path responses count too), timeout | identity, app_data (hex or null), hops, count |
| path | destination, request (false: only look), timeout | path (true or false), hops, seconds |
| wait_path, wait_no_path | destination, timeout | hops (or null) |
| recall | destination | identity (or null), public_key |
| link | destination, app, aspects, accept ("none": resources), timeout | link (number), link_id, rtt_ms, mtu |
| identify | link, identity ("main") | |
| request | link, path, data (below), attempts (1), timeout (of each) | response (below), seconds, attempts |
| close | link | |
| wait_link | destination, count (1), timeout | link (number of the link that came in last) |
| send_resource | link, data (below), metadata (JSON), compress (true), cancel_at (progress from 0 to 1), timeout | status, compressed, transferred |
| resources | link, count (wait for so many that have ended), timeout | resources: status, data (below), metadata |
| cancel_resources | link, at (progress), timeout | cancelled |
| channel | link | |
| send_messages | link, messages (list of hex), timeout | |
| messages | link, count (wait for so many), timeout | messages: list of hex |
| open_stream | link, stream | |
| write_stream | link, stream, data (below), timeout | |
| stream | link, stream, timeout (until its end) | data (below), ended |
| requests | path, count (wait for so many), timeout | requests: path, identity (or null), data (below) |
| quit | | |

Interfaces: `{"type": "tcp_server", "port": n}`, `{"type": "tcp_client", "port": n}` (both take `host`, 127.0.0.1), and
`{"type": "serial", "port": path, "speed": 115200}`. Each takes `name` and `extra`, a record of further lines of its
configuration. Announces are not held back in bursts unless `extra` says so.

Handlers: `{"path": text, "kind": kind, "allow": "all" or list of identity hashes, "delay": seconds}`. Kinds: `bytes` answers with `len` bytes
(see `pattern`), `echo` with the request's data, `nothing` not at all, `wend` as a Wend node whose every command gives back
its parameters.

A requester of the reference now and then misses a response that comes back within a millisecond or so, though it was sent:
seen in 4 of 1,500 requests on a busy machine, and never when the handler waits a little. Handlers therefore wait `delay`
(0.02) before they answer; a test whose other side is as fast gives `attempts`.

An announce is told from an older one by its time in whole seconds: one made in the same second as a path response or announce
that was heard before is not reported.

Data of a request: `{"len": n}` for n bytes of `pattern`, `{"hex": text}` for bytes, `{"json": value}` for any value, in
which `{"$hex": text}` stands for bytes. Data that is shown: `{"type", "len", "sha256"}` for bytes and text, `hex` up to
2000 bytes, else `{"type", "json"}`. `{"text": n}` stands for n bytes of text that compresses.
"""

import argparse
import hashlib
import json
import os
import queue
import shutil
import sys
import tempfile
import threading
import time


class Failed(Exception):
    """What a command answers with instead of a result."""


def pattern(length):
    """Bytes that do not compress and that any language can make: SHA-256 of 0, 1, 2, ... as 4 bytes big-endian."""
    blocks = (hashlib.sha256(count.to_bytes(4, "big")).digest() for count in range((length + 31) // 32))
    return b"".join(blocks)[:length]


def compressible(length):
    """Text that any language can make: the decimal numbers 0, 1, 2, ... each on a line."""
    out, number = bytearray(), 0
    while len(out) < length:
        out += b"%d\n" % number
        number += 1
    return bytes(out[:length])


def to_value(data):
    """What travels, from the form in which a command gives it."""
    if data is None:
        return None
    if "len" in data:
        return pattern(data["len"])
    if "text" in data:
        return compressible(data["text"])
    if "hex" in data:
        return bytes.fromhex(data["hex"])
    return unjson(data["json"])


def unjson(value):
    if isinstance(value, dict):
        if set(value) == {"$hex"}:
            return bytes.fromhex(value["$hex"])
        return {key: unjson(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unjson(item) for item in value]
    return value


def tojson(value):
    if isinstance(value, bytes):
        return {"$hex": value.hex()}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): tojson(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [tojson(item) for item in value]
    return value


def shown(value):
    if isinstance(value, (bytes, bytearray, str)):
        raw = value.encode() if isinstance(value, str) else bytes(value)
        about = {"type": type(value).__name__, "len": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        if len(raw) <= 2000:
            about["hex"] = raw.hex()
        return about
    return {"type": type(value).__name__, "json": tojson(value)}


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True


INTERFACES = {
    "tcp_server": ("TCPServerInterface", {"host": "listen_ip", "port": "listen_port"}),
    "tcp_client": ("TCPClientInterface", {"host": "target_host", "port": "target_port"}),
    "serial": ("SerialInterface", {"port": "port", "speed": "speed"}),
}
DEFAULTS = {
    "tcp_server": {"host": "127.0.0.1"},
    "tcp_client": {"host": "127.0.0.1"},
    "serial": {"speed": 115200},
}


def configuration(interfaces, transport, options):
    lines = ["[reticulum]", f"  enable_transport = {'Yes' if transport else 'No'}", "  share_instance = No"]
    lines += ["  panic_on_interface_error = No"]
    lines += [f"  {option} = {value}" for option, value in options.items()]
    lines += ["[interfaces]"]
    for number, given in enumerate(interfaces):
        kind, keys = INTERFACES[given["type"]]
        settings = {**DEFAULTS[given["type"]], **given}
        lines += [f"  [[{given.get('name', f'interface {number}')}]]", f"    type = {kind}", "    enabled = Yes"]
        lines += [f"    {option} = {settings[key]}" for key, option in keys.items()]
        if given["type"] == "serial":
            lines += ["    databits = 8", "    parity = none", "    stopbits = 1"]
        # Tests announce more at once than a quiet network does, and would wait for what is held back.
        extra = {"ingress_control": "No", **given.get("extra", {})}
        lines += [f"    {option} = {value}" for option, value in extra.items()]
    return "\n".join(lines) + "\n"


class Announces:
    """Remembers the last announce of every destination; the form of an announce handler of the reference."""

    aspect_filter = None
    receive_path_responses = True

    def __init__(self):
        self.heard = {}
        self.counts = {}

    def received_announce(self, destination_hash, announced_identity, app_data):
        # Counted last: whoever waits for the count then finds what was heard.
        self.heard[destination_hash] = (announced_identity, app_data)
        self.counts[destination_hash] = self.counts.get(destination_hash, 0) + 1


class Node:
    def __init__(self, folder):
        self.folder = folder
        self.rns = None
        self.reticulum = None
        self.identities = {}
        self.destinations = {}
        self.links = []
        self.requests = []
        self.incoming = {}
        self.packets = {}
        self.resources = {}
        self.active = {}
        self.messages = {}
        self.streams = {}
        self.announces = Announces()

    def started(self):
        if self.rns is None:
            raise Failed("not started yet: send `start` first")
        return self.rns

    def do_start(self, interfaces=(), transport=False, log=1, options=None):
        if self.rns is not None:
            raise Failed("started already")
        with open(os.path.join(self.folder, "config"), "w", encoding="utf-8") as file:
            file.write(configuration(interfaces, transport, options or {}))
        import RNS

        self.reticulum = RNS.Reticulum(configdir=self.folder, loglevel=log)
        self.rns = RNS
        RNS.Transport.register_announce_handler(self.announces)
        return {"rns": RNS.__version__, "transport_id": RNS.Transport.identity.hash.hex()}

    def do_blackhole(self, identity, reason=None, hours=None):
        self.started()
        until = None if hours is None else time.time() + hours * 3600
        if not self.reticulum.blackhole_identity(bytes.fromhex(identity), until=until, reason=reason):
            raise Failed(f"{identity} was not blackholed")
        return {}

    def do_interfaces(self, up=0, ifac_violations=0, timeout=15):
        self.started()

        def states():
            stats = self.reticulum.get_interface_stats()["interfaces"]
            return [
                {
                    "name": one["name"],
                    "up": bool(one["status"]),
                    "rx_bytes": one.get("rxb"),
                    "tx_bytes": one.get("txb"),
                    "ifac_violations": one.get("ifac_violations", 0),
                }
                for one in stats
            ]

        if not wait_until(lambda: sum(one["up"] for one in states()) >= up, timeout):
            raise Failed(f"fewer than {up} interfaces are up: {states()}")
        if not wait_until(lambda: sum(one["ifac_violations"] for one in states()) >= ifac_violations, timeout):
            raise Failed(f"fewer than {ifac_violations} violations: {states()}")
        return {"interfaces": states()}

    def do_identity(self, name="main", load=None, save=None):
        rns = self.started()
        if load is not None:
            identity = rns.Identity.from_file(load)
            if identity is None:
                raise Failed(f"{load} holds no identity")
            self.identities[name] = identity
        identity = self.identity(name)
        if save is not None and not identity.to_file(save):
            raise Failed(f"cannot write {save}")
        return {"identity": identity.hash.hex(), "public_key": identity.get_public_key().hex()}

    def identity(self, name):
        if name not in self.identities:
            self.identities[name] = self.started().Identity()
        return self.identities[name]

    def do_destination(
        self,
        app,
        aspects=(),
        identity="main",
        handlers=(),
        type="single",
        key=None,
        ratchets=None,
        enforce=False,
        accept="none",
    ):
        rns = self.started()
        owner = None if type == "plain" else self.identity(identity)
        destination = rns.Destination(owner, rns.Destination.IN, self.kind(type), app, *aspects)
        if type == "group":
            if key is None:
                destination.create_keys()
            else:
                destination.load_private_key(bytes.fromhex(key))
            key = destination.get_private_key().hex()
        if ratchets is not None:
            destination.enable_ratchets(os.path.join(self.folder, ratchets))
            if enforce:
                destination.enforce_ratchets()
        if type == "single":
            destination.set_proof_strategy(rns.Destination.PROVE_ALL)
            destination.set_link_established_callback(lambda link: self.came_in(destination.hash, link, accept))
        destination.set_packet_callback(lambda data, packet: self.arrived(destination.hash, data, packet))
        for handler in handlers:
            allow, allowed = rns.Destination.ALLOW_ALL, None
            if handler.get("allow", "all") != "all":
                allow, allowed = rns.Destination.ALLOW_LIST, [bytes.fromhex(text) for text in handler["allow"]]
            destination.register_request_handler(
                handler["path"], response_generator=self.responder(handler), allow=allow, allowed_list=allowed
            )
        self.destinations[destination.hash] = destination
        return {"destination": destination.hash.hex(), "identity": owner and owner.hash.hex(), "key": key}

    def kind(self, name):
        kinds = self.started().Destination
        return {"single": kinds.SINGLE, "group": kinds.GROUP, "plain": kinds.PLAIN}[name]

    def arrived(self, destination, data, packet):
        ratchet = packet.ratchet_id
        self.packets.setdefault(destination, []).append(
            {"data": shown(data), "ratchet": None if ratchet is None else ratchet.hex()}
        )

    def do_packets(self, destination, count=0, timeout=15):
        there = lambda: list(self.packets.get(bytes.fromhex(destination), []))
        if not wait_until(lambda: len(there()) >= count, timeout):
            raise Failed(f"{len(there())} packets within {timeout} s, expected {count}")
        return {"packets": there()}

    def do_rotate(self, destination):
        own = self.destinations[bytes.fromhex(destination)]
        # A rotation is refused before its interval is over, whatever the interval was when it began.
        own.set_ratchet_interval(1)
        count = len(own.ratchets)
        if not wait_until(lambda: own.rotate_ratchets() and len(own.ratchets) > count, 5):
            raise Failed("the ratchet was not rotated within 5 s")
        return {"ratchets": len(own.ratchets)}

    def do_send(self, app, aspects=(), destination=None, data=None, type="single", key=None, proof=False, timeout=15):
        rns = self.started()
        identity = None
        if type == "single":
            identity = rns.Identity.recall(bytes.fromhex(destination))
            if identity is None:
                raise Failed(f"the identity of {destination} is not known")
        elif type == "group":
            identity = self.identity("main")
        remote = rns.Destination(identity, rns.Destination.OUT, self.kind(type), app, *aspects)
        if type == "group":
            remote.load_private_key(bytes.fromhex(key))
            # The address of a group is that of its owner, who need not be here.
            remote.hash = bytes.fromhex(destination)
        receipt = rns.Packet(remote, to_value(data)).send()
        if receipt is False:
            raise Failed("the packet was not sent")
        if not proof:
            return {"proved": None}
        wait_until(lambda: receipt.get_status() == rns.PacketReceipt.DELIVERED, timeout)
        return {"proved": receipt.get_status() == rns.PacketReceipt.DELIVERED}

    def came_in(self, destination, link, accept):
        self.watch(link, accept)
        self.links.append(link)
        self.incoming.setdefault(destination, []).append(len(self.links) - 1)

    def do_wait_link(self, destination, count=1, timeout=15):
        there = lambda: self.incoming.get(bytes.fromhex(destination), [])
        if not wait_until(lambda: len(there()) >= count, timeout):
            raise Failed(f"{len(there())} links within {timeout} s, expected {count}")
        return {"link": there()[-1]}

    def watch(self, link, accept):
        """Records resources that arrive on a link."""
        kinds = {"none": self.rns.Link.ACCEPT_NONE, "all": self.rns.Link.ACCEPT_ALL, "app": self.rns.Link.ACCEPT_APP}
        link.set_resource_strategy(kinds[accept])
        # With `app`, what is refused is refused by the application.
        link.set_resource_callback(lambda resource: False)
        link.set_resource_started_callback(lambda resource: self.active.setdefault(link.link_id, []).append(resource))
        link.set_resource_concluded_callback(lambda resource: self.concluded(link, resource))

    def status_of(self, resource):
        names = ("COMPLETE", "FAILED", "CORRUPT", "REJECTED")
        found = [name for name in names if getattr(self.rns.Resource, name) == resource.status]
        return found[0] if found else resource.status

    def concluded(self, link, resource):
        status = self.status_of(resource)
        data = resource.data.read() if status == "COMPLETE" else None
        record = {"status": status, "data": None if data is None else shown(data), "metadata": tojson(resource.metadata)}
        self.resources.setdefault(link.link_id, []).append(record)

    def do_resources(self, link, count=0, timeout=15):
        there = lambda: list(self.resources.get(self.link(link).link_id, []))
        if not wait_until(lambda: len(there()) >= count, timeout):
            raise Failed(f"{len(there())} resources within {timeout} s, expected {count}")
        return {"resources": there()}

    def do_send_resource(self, link, data, metadata=None, compress=True, cancel_at=None, timeout=60):
        done = threading.Event()
        resource = self.rns.Resource(
            to_value(data),
            self.link(link),
            metadata=None if metadata is None else unjson(metadata),
            auto_compress=compress,
            callback=lambda resource: done.set(),
        )
        if cancel_at is not None:
            if not wait_until(lambda: resource.get_progress() >= cancel_at, timeout):
                raise Failed(f"the resource got no further than {resource.get_progress()}")
            resource.cancel()
        if not done.wait(timeout):
            raise Failed(f"the resource did not end within {timeout} s, progress {resource.get_progress()}")
        return {
            "status": self.status_of(resource),
            "compressed": resource.is_compressed(),
            "transferred": resource.get_transfer_size(),
        }

    def do_cancel_resources(self, link, at=0.0, timeout=15):
        there = lambda: self.active.get(self.link(link).link_id, [])
        if not wait_until(lambda: any(one.get_progress() >= at for one in there()), timeout):
            raise Failed("no resource came that far")
        for resource in there():
            resource.cancel()
        return {"cancelled": len(there())}

    def do_channel(self, link):
        rns, received = self.rns, []

        class Bytes(rns.MessageBase):
            MSGTYPE = 0x0101

            def __init__(self, data=b""):
                self.data = data

            def pack(self):
                return self.data

            def unpack(self, raw):
                self.data = raw

        def take(message):
            if isinstance(message, Bytes):
                received.append(message.data.hex())
                return True
            return False

        channel = self.link(link).get_channel()
        channel.register_message_type(Bytes)
        channel.add_message_handler(take)
        self.messages[link] = (channel, Bytes, received)
        return {}

    def do_send_messages(self, link, messages, timeout=30):
        channel, kind, _ = self.messages[link]
        for message in messages:
            if not wait_until(channel.is_ready_to_send, timeout):
                raise Failed(f"the channel was not ready within {timeout} s")
            channel.send(kind(bytes.fromhex(message)))
        return {}

    def do_messages(self, link, count=0, timeout=30):
        received = self.messages[link][2]
        if not wait_until(lambda: len(received) >= count, timeout):
            raise Failed(f"{len(received)} messages within {timeout} s, expected {count}")
        return {"messages": list(received)}

    def do_open_stream(self, link, stream):
        channel = self.link(link).get_channel()
        reader = self.rns.Buffer.create_reader(stream, channel)
        state = {"data": bytearray(), "ended": threading.Event()}

        def read():
            # Nothing there yet is `None`; the end is no bytes.
            while (chunk := reader.read(4096)) != b"":
                if chunk is None:
                    time.sleep(0.01)
                else:
                    state["data"] += chunk
            state["ended"].set()

        threading.Thread(target=read, daemon=True).start()
        self.streams[(link, stream)] = state
        return {}

    def do_write_stream(self, link, stream, data, timeout=60):
        writer = self.rns.Buffer.create_writer(stream, self.link(link).get_channel())
        done = threading.Event()

        def write():
            left = memoryview(to_value(data))
            while len(left) > 0:
                written = writer.write(left[:32768]) or 0
                left = left[written:]
            writer.flush()
            writer.close()
            done.set()

        threading.Thread(target=write, daemon=True).start()
        if not done.wait(timeout):
            raise Failed(f"the stream was not written within {timeout} s")
        return {}

    def do_stream(self, link, stream, timeout=60):
        state = self.streams[(link, stream)]
        ended = state["ended"].wait(timeout)
        return {"data": shown(bytes(state["data"])), "ended": ended}

    def responder(self, handler):
        kind = handler["kind"]
        if kind not in ("bytes", "echo", "nothing", "wend"):
            raise Failed(f"there is no kind of handler `{kind}`")

        def respond(path, data, request_id, link_id, remote_identity, requested_at):
            who = remote_identity.hash.hex() if remote_identity is not None else None
            self.requests.append({"path": path, "identity": who, "data": shown(data)})
            time.sleep(handler.get("delay", 0.02))
            if kind == "bytes":
                return pattern(handler["len"])
            if kind == "echo":
                return data
            if kind == "wend":
                return [1, data[1], 0, data[3]]
            return None

        return respond

    def do_announce(self, destination, app_data=None):
        own = self.destinations.get(bytes.fromhex(destination))
        if own is None:
            raise Failed(f"{destination} is not a destination of this node")
        own.announce(app_data=None if app_data is None else bytes.fromhex(app_data))
        return {}

    def do_wait_announce(self, destination, count=1, timeout=15):
        rns = self.started()
        wanted = bytes.fromhex(destination)
        if not wait_until(lambda: self.announces.counts.get(wanted, 0) >= count, timeout):
            heard = self.announces.counts.get(wanted, 0)
            raise Failed(f"{heard} announces of {destination} within {timeout} s, expected {count}")
        identity, app_data = self.announces.heard[wanted]
        return {
            "identity": identity.hash.hex(),
            "app_data": None if app_data is None else app_data.hex(),
            "hops": rns.Transport.hops_to(wanted),
            "count": self.announces.counts[wanted],
        }

    def do_path(self, destination, request=False, timeout=15):
        rns = self.started()
        wanted = bytes.fromhex(destination)
        start = time.monotonic()
        if request and not rns.Transport.has_path(wanted):
            end = start + timeout
            while time.monotonic() < end and not rns.Transport.has_path(wanted):
                rns.Transport.request_path(wanted)
                wait_until(lambda: rns.Transport.has_path(wanted), min(5, max(0, end - time.monotonic())))
        known = rns.Transport.has_path(wanted)
        hops = rns.Transport.hops_to(wanted) if known else None
        return {"path": known, "hops": hops, "seconds": time.monotonic() - start}

    def do_wait_path(self, destination, timeout=15):
        rns, wanted = self.started(), bytes.fromhex(destination)
        if not wait_until(lambda: rns.Transport.has_path(wanted), timeout):
            raise Failed(f"no path to {destination} within {timeout} s")
        return {"hops": rns.Transport.hops_to(wanted)}

    def do_wait_no_path(self, destination, timeout=15):
        rns, wanted = self.started(), bytes.fromhex(destination)
        if not wait_until(lambda: not rns.Transport.has_path(wanted), timeout):
            raise Failed(f"there is a path to {destination} still after {timeout} s")
        return {"hops": None}

    def do_recall(self, destination):
        identity = self.started().Identity.recall(bytes.fromhex(destination))
        if identity is None:
            return {"identity": None, "public_key": None}
        return {"identity": identity.hash.hex(), "public_key": identity.get_public_key().hex()}

    def do_link(self, destination, app, aspects=(), accept="none", timeout=15):
        rns = self.started()
        wanted = bytes.fromhex(destination)
        identity = rns.Identity.recall(wanted)
        if identity is None:
            raise Failed(f"the identity of {destination} is not known: no announce or path response of it was heard")
        remote = rns.Destination(identity, rns.Destination.OUT, rns.Destination.SINGLE, app, *aspects)
        if remote.hash != wanted:
            raise Failed(f"the destination of that identity and name is {remote.hash.hex()}, not {destination}")
        events = queue.Queue()
        link = rns.Link(
            remote,
            established_callback=lambda link: events.put("up"),
            closed_callback=lambda link: events.put("closed"),
        )
        try:
            event = events.get(timeout=timeout)
        except queue.Empty:
            link.teardown()
            raise Failed(f"no link to {destination} within {timeout} s") from None
        if event != "up":
            raise Failed(f"the link to {destination} was not established, reason {link.teardown_reason}")
        self.watch(link, accept)
        self.links.append(link)
        rtt_ms = None if link.rtt is None else link.rtt * 1000
        return {"link": len(self.links) - 1, "link_id": link.link_id.hex(), "rtt_ms": rtt_ms, "mtu": link.mtu}

    def link(self, number):
        if not 0 <= number < len(self.links):
            raise Failed(f"there is no link {number}")
        return self.links[number]

    def do_identify(self, link, identity="main"):
        self.link(link).identify(self.identity(identity))
        return {}

    def do_request(self, link, path, data=None, attempts=1, timeout=15):
        start = time.monotonic()
        for attempt in range(1, attempts + 1):
            response = self.respond_to(self.link(link), path, to_value(data), timeout)
            if response is not None:
                return {"response": shown(response), "seconds": time.monotonic() - start, "attempts": attempt}
        raise Failed(f"no response to {path} in {attempts} attempts of {timeout} s")

    def do_burst(self, link, path, count, window, timeout=15):
        """So many small requests, `window` of them outstanding: how many were answered."""
        room, ended, answered, over = threading.Semaphore(window), [], [], self.link(link)

        def end(receipt, well):
            if well:
                answered.append(receipt)
            ended.append(receipt)
            room.release()

        for _ in range(count):
            room.acquire()
            over.request(path, b"", lambda one: end(one, True), lambda one: end(one, False), timeout=timeout)
        wait_until(lambda: len(ended) == count, timeout + 5)
        return {"answered": len(answered)}

    def respond_to(self, link, path, data, timeout):
        """The response to one request, or None."""
        done = threading.Event()
        receipt = link.request(
            path,
            data,
            response_callback=lambda receipt: done.set(),
            failed_callback=lambda receipt: done.set(),
            timeout=timeout,
        )
        if not receipt:
            raise Failed("the request could not be sent: the link is closed")
        # A response may take longer to arrive than to begin; only its beginning falls under the reference's timeout.
        if not done.wait(timeout + 5):
            raise Failed(f"the response to {path} began and did not end, progress {receipt.get_progress()}")
        return receipt.get_response()

    def do_close(self, link):
        self.link(link).teardown()
        return {}

    def do_requests(self, path=None, count=0, timeout=15):
        def matching():
            return [one for one in list(self.requests) if path is None or one["path"] == path]

        if not wait_until(lambda: len(matching()) >= count, timeout):
            raise Failed(f"{len(matching())} requests within {timeout} s, expected {count}")
        return {"requests": matching()}

    def run(self, command):
        arguments = {key: value for key, value in command.items() if key not in ("do", "id")}
        method = getattr(self, f"do_{command.get('do')}", None)
        if method is None:
            raise Failed(f"there is no command `{command.get('do')}`")
        return method(**arguments)


def main():
    parser = argparse.ArgumentParser(description="A node of the reference implementation, driven by JSON lines.")
    parser.add_argument("--lifetime", type=float, default=600.0, help="seconds until the program ends by itself")
    given = parser.parse_args()

    # Answers have the real standard output to themselves; what the reference prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    folder = tempfile.mkdtemp(prefix="reference-node-")

    def leave(status):
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(status)

    watchdog = threading.Timer(given.lifetime, leave, [3])
    watchdog.daemon = True
    watchdog.start()

    node = Node(folder)
    for line in iter(sys.stdin.readline, ""):
        if not line.strip():
            continue
        answer = {"ok": False}
        quit_after = False
        try:
            command = json.loads(line)
            if "id" in command:
                answer["id"] = command["id"]
            if command.get("do") == "quit":
                quit_after = True
                for link in node.links:
                    link.teardown()
                time.sleep(0.2)
                answer["ok"] = True
            else:
                answer.update(node.run(command))
                answer["ok"] = True
        except Failed as error:
            answer["error"] = str(error)
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if quit_after:
            break
    leave(0)


if __name__ == "__main__":
    main()
