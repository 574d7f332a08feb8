#!/usr/bin/python3
"""Opens a GSA_INBAND_REKEY with the cryptography package, which shares no code with getvpn.

One JSON object on standard input, one on standard output. Numbers and layouts are those of RFC 7296 and RFC 9838.

  {"message": "<hex of an IKE message>", "derivation": "<hex of SK_d>", "encryption": "<hex of SK_er with salt>"}
      -> {"exchange": 42, "flags": 0, "message_id": 0, "payloads": [51, 52],
          "attributes": {"3": [1, …], "0": […]}, "bags": [3], "keys": {"<hex of an SPI>": "<hex of the key>"}}

`attributes` are the types of the attributes in GSA by protocol, `bags` the protocols of the key bags.
"""
import hashlib
import hmac
import json
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

SK = 46
GSA = 51
KD = 52
HASHES = {32: hashlib.sha256, 48: hashlib.sha384, 64: hashlib.sha512}


def prf_plus(key, seed, length):
    """prf+ of RFC 7296 section 2.13; the length of SK_d tells the hash."""
    out, block, number = b"", b"", 1
    while len(out) < length:
        block = hmac.new(key, block + seed + bytes([number]), HASHES[len(key)]).digest()
        out, number = out + block, number + 1
    return out[:length]


def opened(message, keying):
    next_payload, length = message[28], struct.unpack(">H", message[30:32])[0]
    assert message[16] == SK and length == len(message) - 28
    key, salt = keying[:-4], keying[-4:]
    vector, sealed = message[32:40], message[40:]
    chain = AESGCM(key).decrypt(salt + vector, sealed, message[:32])
    return next_payload, chain[: len(chain) - 1 - chain[-1]]


def payloads(first, chain):
    found = []
    while first:
        following, _, length = struct.unpack(">BBH", chain[:4])
        found.append((first, chain[4:length]))
        first, chain = following, chain[length:]
    assert not chain
    return found


def substructures(body):
    while body:
        protocol, spi_size, length = struct.unpack(">BBH", body[:4])
        size = spi_size if protocol else 0
        yield protocol, body[4 : 4 + size], body[4 + size : length]
        body = body[length:]


def attributes(body):
    while body:
        kind, value = struct.unpack(">HH", body[:4])
        if kind & 0x8000:
            yield kind & 0x7FFF, body[2:4]
            body = body[4:]
        else:
            yield kind, body[4 : 4 + value]
            body = body[4 + value :]


def policy_attributes(protocol, body):
    if protocol:
        for _ in range(2):
            body = body[struct.unpack(">H", body[2:4])[0] :]
        last = False
        while not last:
            last = body[0] == 0
            body = body[struct.unpack(">H", body[2:4])[0] :]
    return [kind for kind, _ in attributes(body)]


def main():
    job = {name: bytes.fromhex(value) for name, value in json.load(sys.stdin).items()}
    message = job["message"]
    chain = payloads(*opened(message, job["encryption"]))
    answer = {
        "exchange": message[18],
        "flags": message[19],
        "message_id": struct.unpack(">I", message[20:24])[0],
        "payloads": [kind for kind, _ in chain],
        "attributes": {},
        "bags": [],
        "keys": {},
    }
    wrapping = prf_plus(job["derivation"], b"Key Wrap for G-IKEv2", 32)
    for kind, body in chain:
        for protocol, spi, rest in substructures(body):
            if kind == GSA:
                found = answer["attributes"].setdefault(str(protocol), [])
                found.extend(policy_attributes(protocol, rest))
            elif kind == KD:
                answer["bags"].append(protocol)
                [(attribute, value)] = attributes(rest)
                key_id, wrapped_by = struct.unpack(">II", value[:8])
                assert (attribute, key_id, wrapped_by) == (1, 0, 0)
                answer["keys"][spi.hex()] = aes_key_unwrap_with_padding(wrapping, value[8:]).hex()
    json.dump(answer, sys.stdout)


main()
