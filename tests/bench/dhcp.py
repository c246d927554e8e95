"""Leases per second from our router and from a bare dnsmasq, with its ping check and without."""

import re

from appliance.runtime import namespace
from tests.bench import bare, documents
from tests.bench.benchmark import Say, table
from tests.bench.lab import GUEST, GUEST_ADDRESS, Lab, laboratory

TITLE = "DHCP"
COUNT = 10_000
_SECONDS = 5
_RATES = (200, 1_000, 3_000)
"""Of guests that boot, each second."""


def run(say: Say) -> str:
    rows = []
    with laboratory() as lab:
        lab.put(documents.filled(COUNT))
        for rate in _RATES:
            say(f"our router, {rate} a second")
            rows.append(["our router", f"{rate:,}", *_measure(lab, documents.GATEWAY, rate)])
        for what, options in (
            ("bare dnsmasq, no-ping", "no-ping\n"),
            ("bare dnsmasq, with its ping check", ""),
        ):
            for rate in _RATES:
                say(f"{what}, {rate} a second")
                with bare.dnsmasq(lab, files=bare.entries(COUNT), options=options):
                    rows.append([what, f"{rate:,}", *_measure(lab, bare.ADDRESS, rate)])
    text = (
        f"perfdhcp as a relay on the guests' segment: so many guests begin a four-way exchange each second, "
        f"for {_SECONDS} s, of {COUNT:,} that have reservations. dnsmasq pings an address before it offers "
        "it, and waits up to 3 s for an answer that must not come; while it waits it serves others slowly, and "
        "beyond a number of pings at once not at all. The document says whose each address is, so our "
        "router doesn't ask."
    )
    head = ["server", "guests/s", "leases/s", "offers lost", "acknowledgements lost", "offer mean ms"]
    return "\n\n".join([text, table(head, rows)])


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
