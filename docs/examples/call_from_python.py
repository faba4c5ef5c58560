#!/usr/bin/env python3
"""Calls a command of a running Wend node with the reference Python package.

    pip install rns==1.5.7
    python3 call_from_python.py DESTINATION COMMAND [PARAMS] [--identity FILE] [--config DIR]

    python3 call_from_python.py 0f1e...2d3c node/ping '{"payload": "00ff"}' --identity me.identity --config rns/

DESTINATION is the node's destination hash, as `wend id` shows it. PARAMS is a JSON object; bytes are written as
hexadecimal digits. FILE keeps the caller's identity and is made when it is missing. DIR is a Reticulum configuration
folder whose `config` has an interface that leads to the node:

    [reticulum]
      share_instance = No
    [interfaces]
      [[node]]
        type = TCPClientInterface
        enabled = Yes
        target_host = 127.0.0.1
        target_port = 4242

A node runs only what its owner's policy names, for whom it names. This program says on standard error which identity it
has, for the owner to permit. The result goes to standard output as JSON. Exit status: 0 there is a result, 1 there is
none, 2 wrong usage. The format of calls is in docs/protocol/mesh.md, section "Commands".
"""

import argparse
import json
import os
import queue
import sys
import threading
import time

import RNS

PATH = "/wend/execute"
VERSION = 1
STATUS = {
    1: "unknown",
    2: "denied",
    3: "invalid",
    4: "expired",
    5: "unavailable",
    6: "busy",
    7: "internal",
}


def fail(message, status=1):
    print(f"error: {message}", file=sys.stderr)
    sys.stderr.flush()
    # Reticulum's threads are daemons, yet its exit handlers may wait for interfaces: leave at once.
    os._exit(status)


def arguments():
    parser = argparse.ArgumentParser(description="Call a command of a Wend node.")
    parser.add_argument("destination", help="destination hash of the node, 32 hexadecimal digits")
    parser.add_argument("command", help="name of the command, such as node/info")
    parser.add_argument("params", nargs="?", default="{}", help="parameters as a JSON object (default: none)")
    parser.add_argument("--identity", metavar="FILE", help="file with the caller's identity; made when missing")
    parser.add_argument("--config", metavar="DIR", help="Reticulum configuration folder (default: ~/.reticulum)")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="time for each step (default: 30)")
    given = parser.parse_args()
    try:
        given.destination = bytes.fromhex(given.destination)
    except ValueError:
        parser.error("the destination must be hexadecimal digits")
    if len(given.destination) != 16:
        parser.error("the destination must have 32 hexadecimal digits")
    try:
        given.params = json.loads(given.params)
    except ValueError as error:
        parser.error(f"the parameters are not JSON: {error}")
    if not isinstance(given.params, dict):
        parser.error('the parameters must be a JSON object: {"name": value}')
    return given


def caller_identity(file):
    """The identity in `file`, made and kept there when it is missing; without a file, one for this call only."""
    if file is None:
        return RNS.Identity()
    if os.path.exists(file):
        identity = RNS.Identity.from_file(file)
        if identity is None:
            fail(f"{file} holds no identity", 2)
        return identity
    identity = RNS.Identity()
    # A private key: nobody else may read it.
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    if not identity.to_file(file):
        fail(f"cannot write {file}", 2)
    return identity


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def path_to(destination, seconds):
    """Waits until there is a path, asking for it again now and then: an interface may still be connecting."""
    end = time.monotonic() + seconds
    while not RNS.Transport.has_path(destination):
        RNS.Transport.request_path(destination)
        if wait_for(lambda: RNS.Transport.has_path(destination), min(5.0, max(0.0, end - time.monotonic()))):
            break
        if time.monotonic() >= end:
            fail(
                f"no path to {destination.hex()} within {seconds:g} s: is the node running, and does an interface of "
                "your Reticulum configuration lead to it?"
            )


def open_link(destination, seconds):
    identity = RNS.Identity.recall(destination)
    if identity is None:
        fail(f"there is a path to {destination.hex()}, but its identity is not known; wait for its next announce")
    node = RNS.Destination(identity, RNS.Destination.OUT, RNS.Destination.SINGLE, "wend", "node")
    if node.hash != destination:
        fail(f"{destination.hex()} is not a Wend node; the node of that identity would be {node.hash.hex()}")
    up = threading.Event()
    link = RNS.Link(node, established_callback=lambda link: up.set())
    if not up.wait(seconds):
        fail(f"the node did not accept a link within {seconds:g} s, though there is a path to it")
    return link


def call(link, command, params, seconds):
    """Makes one call and gives the status and value of its reply; None when there was no reply.

    The call is sent again after a while, under the same id: the node runs it once all the same and gives the reply it has
    kept. A response can get lost, and one that comes back within a millisecond is sometimes missed by Reticulum itself.
    """
    message_id = os.urandom(16)
    # Reticulum packs these values itself: the id is bytes and stays bytes, names are text.
    envelope = [VERSION, message_id, command, params, int(seconds), None]
    responses = queue.Queue()
    end = time.monotonic() + seconds
    pause = 3.0
    while (left := end - time.monotonic()) > 0:
        # What was sent before stays open: whichever request is answered first counts.
        sent = link.request(
            PATH,
            envelope,
            response_callback=lambda receipt: responses.put(receipt.get_response()),
            timeout=left,
        )
        if not sent:
            return None
        try:
            reply = responses.get(timeout=min(pause, left))
        except queue.Empty:
            pause *= 2
            continue
        if not isinstance(reply, list) or len(reply) != 4 or reply[0] != VERSION or reply[1] != message_id:
            fail(f"the node sent a reply of another form: {reply!r}")
        return reply[2], reply[3]
    return None


def jsonable(value):
    """Bytes as hexadecimal digits, and keys as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [jsonable(element) for element in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(jsonable(key)): jsonable(item) for key, item in value.items()}
    return value


def main():
    given = arguments()
    if given.config is not None and not os.path.isfile(os.path.join(given.config, "config")):
        fail(f"there is no file `config` in {given.config}", 2)
    RNS.Reticulum(configdir=given.config, loglevel=RNS.LOG_CRITICAL)
    identity = caller_identity(given.identity)
    print(f"calling as identity {identity.hash.hex()}", file=sys.stderr)

    path_to(given.destination, given.timeout)
    link = open_link(given.destination, given.timeout)
    link.identify(identity)
    reply = call(link, given.command, given.params, given.timeout)
    link.teardown()

    if reply is None:
        fail(
            f"no answer within {given.timeout:g} s: the node may be busy or gone, or it does not answer this identity, "
            f"{identity.hash.hex()}"
        )
    status, value = reply
    if status != 0:
        detail = value.get("detail") if isinstance(value, dict) else None
        hint = ""
        if status == 2:
            hint = f"; the node's owner can permit identity {identity.hash.hex()}"
        fail(f"{STATUS.get(status, f'status {status}')}: {detail or 'no detail'}{hint}")
    print(json.dumps(jsonable(value), indent=2, ensure_ascii=False))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
