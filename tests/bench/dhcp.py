"""Leases per second from our router and from a bare dnsmasq, with its ping check and without."""

import re

from appliance.runtime import namespace
from tests.bench import bare, documents
from tests.bench.benchmark import Say, table
from tests.bench.lab import GUEST, GUEST_ADDRESS, Lab, laboratory

TITLE = "DHCP"
COUNT = 10_000
_SECONDS = 5
_RATES = (200, 1_000)
"""Guests that begin each second."""
_RANGE = "dhcp-range=10.1.128.1,10.1.200.254,255.255.0.0,86400\n"


def run(say: Say) -> str:
    with laboratory() as lab:
        reserved, others = [], []
        lab.put(documents.filled(COUNT))
        for rate in _RATES:
            say(f"our router, {rate} a second")
            reserved.append(["our router", f"{rate:,}", *_measure(lab, documents.GATEWAY, rate)])
            say(f"bare dnsmasq, {rate} a second")
            with bare.dnsmasq(lab, files=bare.entries(COUNT), options="no-ping\n"):
                reserved.append(["bare dnsmasq", f"{rate:,}", *_measure(lab, bare.ADDRESS, rate)])
        for what, options in (("without its ping check", "no-ping\n"), ("with its ping check", "")):
            for rate in _RATES:
                say(f"{what}, {rate} a second")
                names = {**bare.entries(1), "dhcp-hosts": ""}
                with bare.dnsmasq(lab, files=names, options=_RANGE + options):
                    others.append([f"bare dnsmasq, {what}", f"{rate:,}", *_measure(lab, bare.ADDRESS, rate)])
    head = ["server", "guests/s", "leases/s", "offers lost", "acks lost", "offer mean ms"]
    return "\n\n".join(
        [
            "perfdhcp as a relay on the guests' segment: so many guests begin a four-way exchange each "
            f"second, for {_SECONDS} s.",
            f"{COUNT:,} guests with reservations:",
            table(head, reserved),
            "Guests without, from a range. dnsmasq pings a free address before it offers it, and serves "
            "nobody else well meanwhile. Our router doesn't ask: the document says whose each address is.",
            table(head, others),
        ]
    )


def _measure(lab: Lab, server: str, rate: int) -> list[str]:
    base = documents.guest_mac(0)
    # fmt: off
    output = namespace.run(
        lab.namespace(GUEST),
        ["perfdhcp", "-4", "-r", str(rate), "-p", str(_SECONDS), "-R", str(COUNT), "-b", f"mac={base}",
         "-l", GUEST_ADDRESS, server],
        timeout=_SECONDS + 60,
    ).stdout
    # fmt: on
    leases = re.search(r"Rate: ([0-9.]+) 4-way", output)
    parts = re.split(r"\*\*\*Statistics for: ", output)
    offers = next(part for part in parts if part.startswith("DISCOVER-OFFER"))
    acks = next(part for part in parts if part.startswith("REQUEST-ACK"))
    return [
        f"{float(leases[1]):,.0f}" if leases else "-",
        f"{_figure(offers, 'drops ratio')} %",
        f"{_figure(acks, 'drops ratio')} %",
        _figure(offers, "avg delay"),
    ]


def _figure(text: str, name: str) -> str:
    found = re.search(rf"{name}: ([0-9.]+)", text)
    return f"{float(found[1]):.1f}" if found else "-"
