#!/usr/bin/python3
"""Seals and opens ESP with scapy, which shares no code with getvpn.

One JSON object on standard input, one on standard output.

  {"do": "open", "spi": "c0ffee01", "key": "<hex of key and salt>", "algorithm": "AES-GCM",
   "packet": "<hex of an IP packet with ESP or ESP in UDP>"}
      -> {"inner": "<hex of the inner IP packet>"}

  {"do": "seal", "spi": …, "key": …, "algorithm": …, "sequence": 1, "iv": "<hex, 8 octets>",
   "inner": "<hex of an IP packet>", "udp": true}
      -> {"packet": "<hex of the IP packet with ESP>"}
"""
import json
import sys

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation


def ip(octets):
    return IP(octets) if octets[0] >> 4 == 4 else IPv6(octets)


def association(job, source, destination, udp):
    version = IPv6 if ":" in source else IP
    return SecurityAssociation(
        ESP,
        spi=int(job["spi"], 16),
        crypt_algo=job["algorithm"],
        crypt_key=bytes.fromhex(job["key"]),
        tunnel_header=version(src=source, dst=destination),
        nat_t_header=UDP(sport=4500, dport=4500) if udp else None,
    )


def main():
    job = json.load(sys.stdin)
    if job["do"] == "open":
        packet = ip(bytes.fromhex(job["packet"]))
        udp = packet.haslayer(UDP) and not packet.haslayer(ESP)
        if udp:
            # Any source port is allowed on the wire; scapy tells ESP by port 4500 alone.
            packet[UDP].payload = ESP(bytes(packet[UDP].payload))
        opened = association(job, packet.src, packet.dst, packet.haslayer(UDP)).decrypt(packet)
        json.dump({"inner": bytes(opened).hex()}, sys.stdout)
    else:
        inner = ip(bytes.fromhex(job["inner"]))
        sealed = association(job, inner.src, inner.dst, job["udp"]).encrypt(
            inner, seq_num=job["sequence"], iv=bytes.fromhex(job["iv"]))
        json.dump({"packet": bytes(sealed).hex()}, sys.stdout)


main()
