"""reference_endpoint.py server DIR | client DIR DESTINATION: an endpoint of the reference implementation, driven by lines of
JSON on standard input. benches/endpoint is the same on Wend's packet layer."""
import json
import os
import sys
import threading
import time
import traceback

import RNS
from RNS.Channel import MessageBase

NAME = ("bench", "perf")
# The reference registers what it waits for after the request has left: a quick response overtakes that and is lost.
REQUEST_TIMEOUT = 0.3
PACKET_TIMEOUT = 4
# How long a task may take in all.
PATIENCE = 120

now = time.perf_counter
_out = threading.Lock()


def say(**answer):
    with _out:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Message(MessageBase):
    MSGTYPE = 0x0101

    def __init__(self, data=b""):
        self.data = data

    def pack(self):
        return self.data

    def unpack(self, raw):
        self.data = raw


def commands():
    for line in sys.stdin:
        command = json.loads(line)
        if command["cmd"] == "quit":
            return
        try:
            yield command
        except GeneratorExit:
            return


class Server:
    def __init__(self, folder):
        RNS.Reticulum(configdir=folder, loglevel=2)
        identity = RNS.Identity(create_keys=False)
        identity.load_private_key(RNS.Identity.full_hash(b"bench-server-x") + RNS.Identity.full_hash(b"bench-server-e"))
        self.own = RNS.Destination(identity, RNS.Destination.IN, RNS.Destination.SINGLE, *NAME)
        self.own.set_proof_strategy(RNS.Destination.PROVE_ALL)
        self.own.register_request_handler("/echo", response_generator=self._echo, allow=RNS.Destination.ALLOW_ALL)
        self.own.set_link_established_callback(self._linked)
        self.messages = 0

    @staticmethod
    def _echo(path, data, request_id, link_id, remote_identity, requested_at):
        return data

    def _linked(self, link):
        link.set_resource_strategy(RNS.Link.ACCEPT_ALL)
        channel = link.get_channel()
        channel.register_message_type(Message)
        channel.add_message_handler(self._message)

    def _message(self, message):
        self.messages += 1
        return True

    def run(self):
        say(ev="ready", dest=self.own.hash.hex(), version=RNS.__version__)
        for command in commands():
            if command["cmd"] == "announce":
                self.own.announce()
                say(ev="announced")
            elif command["cmd"] == "reset":
                self.messages = 0
                say(ev="reset")
            elif command["cmd"] == "stats":
                say(ev="stats", chan=self.messages)


class Window:
    """So many of `count` operations at a time; each ends once, well or not."""

    def __init__(self, count, size):
        self.took, self.failed = [], 0
        self._left, self._lock = count, threading.Lock()
        self._room, self._done = threading.Semaphore(size), threading.Event()

    def begin(self):
        """Waits for room; gives what ends the operation: with True when it went well."""
        self._room.acquire()
        began, ended = now(), []

        def end(well):
            with self._lock:
                if ended:
                    return
                ended.append(True)
                if well:
                    self.took.append((now() - began) * 1e3)
                else:
                    self.failed += 1
                self._left -= 1
                if self._left == 0:
                    self._done.set()
            self._room.release()
        return end

    def wait(self):
        self._done.wait(PATIENCE)


class Client:
    def __init__(self, folder, destination):
        RNS.Reticulum(configdir=folder, loglevel=2)
        self.hash, self.to, self.link = bytes.fromhex(destination), None, None

    def run(self):
        say(ev="ready", version=RNS.__version__)
        for command in commands():
            try:
                task = getattr(self, "do_" + command.pop("cmd"))
                say(**task(**command))
            except Exception as error:
                traceback.print_exc()
                say(ev="error", error=repr(error))

    def do_path(self):
        if not RNS.Transport.has_path(self.hash):
            RNS.Transport.request_path(self.hash)
        end = now() + 30
        while not (RNS.Transport.has_path(self.hash) and RNS.Identity.recall(self.hash)) and now() < end:
            time.sleep(0.002)
        ok = RNS.Transport.has_path(self.hash)
        if ok:
            identity = RNS.Identity.recall(self.hash)
            self.to = RNS.Destination(identity, RNS.Destination.OUT, RNS.Destination.SINGLE, *NAME)
        return {"ev": "path", "ok": ok, "hops": RNS.Transport.hops_to(self.hash)}

    def _open(self, patience):
        up, times = threading.Event(), []

        def established(_link):
            times.append(now())
            up.set()
        began = now()
        link = RNS.Link(self.to, established_callback=established)
        ok = up.wait(patience)
        return link, (times[0] - began) * 1e3 if ok else None

    def do_link(self):
        if self.link:
            self.link.teardown()
        self.link, took = self._open(20)
        # The server sets its end up on its own time.
        time.sleep(0.1)
        self.link.get_channel().register_message_type(Message)
        return {"ev": "link", "ok": took is not None, "ms": took, "mtu": self.link.mtu}

    def do_links(self, n):
        took, failed, began = [], 0, now()
        for _ in range(n):
            link, ms = self._open(10)
            if ms is None:
                failed += 1
            else:
                took.append(ms)
            link.teardown()
        return {"ev": "links", "lat": took, "fail": failed, "seconds": now() - began}

    def do_resource(self, file, compress=True, always=False, tmo=180):
        # It compresses whatever the link carries: `always` makes no difference.
        with open(file, "rb") as source:
            data = source.read()
        done, ended = threading.Event(), []

        def concluded(resource):
            ended.append((now(), resource.status == RNS.Resource.COMPLETE))
            done.set()
        began = now()
        RNS.Resource(data, self.link, callback=concluded, auto_compress=compress)
        done.wait(tmo)
        at, ok = ended[0] if ended else (now(), False)
        return {"ev": "resource", "ok": ok, "seconds": at - began}

    def do_requests(self, n, size=32, window=1):
        running, began = Window(n, window), now()
        for _ in range(n):
            end = running.begin()
            sent = self.link.request("/echo", os.urandom(size), lambda _receipt, end=end: end(True),
                                     lambda _receipt, end=end: end(False), timeout=REQUEST_TIMEOUT)
            if sent is False:
                end(False)
        running.wait()
        return {"ev": "requests", "lat": running.took, "fail": n - len(running.took), "seconds": now() - began}

    def do_packets(self, n, size=32, window=64):
        running, began = Window(n, window), now()
        for _ in range(n):
            end = running.begin()
            receipt = RNS.Packet(self.to, os.urandom(size)).send()
            if not receipt:
                end(False)
                continue
            receipt.set_timeout(PACKET_TIMEOUT)
            receipt.set_delivery_callback(lambda _receipt, end=end: end(True))
            receipt.set_timeout_callback(lambda _receipt, end=end: end(False))
            # The proof may have come before anybody waited for it.
            if receipt.status == RNS.PacketReceipt.DELIVERED:
                end(True)
        running.wait()
        delivered = len(running.took)
        return {"ev": "packets", "delivered": delivered, "lost": n - delivered, "lat": running.took, "seconds": now() - began}

    def do_channel(self, n, size=32):
        channel, body, sent, began = self.link.get_channel(), os.urandom(size), 0, now()
        end = began + PATIENCE
        while sent < n and now() < end:
            if channel.is_ready_to_send():
                channel.send(Message(body))
                sent += 1
            else:
                time.sleep(0.0005)
        # All are acknowledged when nothing waits to be sent again.
        while len(channel._tx_ring) and now() < end:
            time.sleep(0.0005)
        return {"ev": "channel", "sent": sent, "seconds": now() - began}


def main():
    role, folder, *rest = sys.argv[1:]
    (Server(folder) if role == "server" else Client(folder, *rest)).run()
    # Its threads need not be waited for.
    os._exit(0)


main()
