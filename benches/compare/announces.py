"""announces.py COUNT SEED FILE: announces of destinations that nobody has, each packet after its length in two bytes.
The same arguments give the same bytes on every machine. Needs the Python module `cryptography`."""
import hashlib
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

# When all of them say they were made.
EMITTED = 1_790_000_000
APP_DATA = 16


def digest(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def announce(seed, number):
    number = struct.pack(">Q", number)
    exchange = X25519PrivateKey.from_private_bytes(digest(b"x", seed, number))
    signing = Ed25519PrivateKey.from_private_bytes(digest(b"e", seed, number))
    keys = exchange.public_key().public_bytes_raw() + signing.public_key().public_bytes_raw()
    name = digest(b"bench.announce")[:10]
    destination = digest(name, digest(keys)[:16])[:16]
    blob = digest(b"r", seed, number)[:5] + EMITTED.to_bytes(5, "big")
    data = digest(b"a", number)[:APP_DATA]
    signature = signing.sign(destination + keys + name + blob + data)
    # Header of one address, broadcast, to a SINGLE destination, no hop yet, no context.
    return b"\x01\x00" + destination + b"\x00" + keys + name + blob + signature + data


def main():
    count, seed, path = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
    with open(path, "wb") as file:
        for number in range(count):
            packet = announce(seed, number)
            file.write(struct.pack(">H", len(packet)) + packet)


main()
