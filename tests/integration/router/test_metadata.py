"""Metadata through the real router: odd requests, and texts that try to be more than texts."""

import base64
import socket
from urllib.parse import quote

from router_document import VM1, document
from router_lab import Lab, until

GATEWAY, LINK_LOCAL = "10.1.1.1", "169.254.169.254"
ODD = "two  spaces \"quotes\" 'single' ; } {{ 7*7 }} $(id) `id` \\n %s é 漢 < > & end"


def test_no_path_leads_out(lab: Lab) -> None:
    for path in (
        "/../../etc/passwd",
        "/latest/../../../../etc/passwd",
        "/latest/meta-data/../../../etc/passwd",
        "/latest/meta-data/" + quote("../../../../etc/passwd", safe=""),
        "/latest/meta-data/%2e%2e/%2e%2e/etc/passwd",
        "/latest/meta-data/%00",
        "//etc/passwd",
        "/latest/meta-data/" + "a/" * 2000,
        "http://10.1.1.11/latest/meta-data/instance-id",
        "/latest/meta-data/instance-id%0d%0aX-Evil:%201",
    ):
        answer = lab["vm1"].http(path, server=GATEWAY)
        assert "root:" not in answer.text, path
        assert "i-2" not in answer.text, path
        assert "X-Evil" not in answer.headers, path


def test_a_guest_is_told_of_itself_and_of_nobody_else(lab: Lab) -> None:
    path = "/latest/meta-data/instance-id"
    assert lab["vm1"].http(path, server=GATEWAY).text.strip() == "i-1"
    assert lab["vm2"].http(path, server=LINK_LOCAL).text.strip() == "i-2"
    for forged in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Host"):
        answer = lab["vm1"].http(path, server=GATEWAY, headers={forged: "10.1.1.11"})
        assert answer.text.strip() in ("i-1", ""), forged
    # Another's address doesn't help: the service knows the cards.
    guest = lab["vm1"]
    guest.run("ip", "address", "add", "10.1.1.12/24", "dev", "eth0")
    try:
        with guest.socket() as asking:
            asking.bind(("10.1.1.12", 0))
            asking.connect((GATEWAY, 80))
            asking.send(b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 404 " in asking.recv(1000)
    finally:
        guest.run("ip", "address", "del", "10.1.1.12/24", "dev", "eth0")
    # The other network has none, and the world doesn't get there.
    assert lab["vm3"].refused("10.1.2.1", 80)
    assert lab["net"].refused("203.0.113.2", 80)


def test_odd_texts_arrive_as_they_were(lab: Lab) -> None:
    wanted = document()
    user_data = b"#!/bin/sh\r\n\r\nHTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n\0\xff" + ODD.encode()
    wanted["metadata"]["guest0"]["guests"][VM1] |= {
        "user_data": base64.b64encode(user_data).decode(),
        "keys": {"service-offering": ODD, "odd": ODD},
        "public_keys": [f"ssh-ed25519 AAAA {ODD}"],
    }
    lab.put(wanted)
    guest = lab["vm1"]
    until(lambda: guest.http("/latest/meta-data/odd", server=GATEWAY).text.strip() == ODD)
    assert ODD in guest.http("/latest/meta-data/public-keys", server=GATEWAY).text
    with guest.socket(socket.SOCK_STREAM) as asking:
        asking.connect((GATEWAY, 80))
        asking.sendall(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        content = b""
        while more := asking.recv(65536):
            content += more
    head, _, body = content.partition(b"\r\n\r\n")
    assert body == user_data
    assert head.startswith(b"HTTP/1.1 200 ")
    assert lab.drift() == []


def test_texts_that_could_break_a_line_stay_in_it(lab: Lab) -> None:
    """What the model lets through of texts, at its edge, reaches clients as it was."""
    text = "a:b/c,d@e+f=g-h.i_j k" * 3
    wanted = document()
    wanted["dns"]["guest0"] |= {"texts": {"t": text, "comma": ",,,,"}}
    wanted["dhcp"]["guest0"]["options"] = {"extra": {"66": "a=b,c", "252": "http://a/w.dat", "43": "b"}}
    lab.put(wanted)
    assert lab["vm1"].dig("t.a.example", "TXT", server=GATEWAY) == [f'"{text}"']
    assert lab["vm1"].dig("comma.a.example", "TXT", server=GATEWAY) == ['",,,,"']
    for label in ("7", "0x10", "1e5", "local", "localhost", "xn--n3h", "a" * 63):
        wanted["dns"]["guest0"]["records"] = {label: ["10.1.1.70"]}
        wanted["dns"]["guest0"]["aliases"] = {f"alias.{label}": label}
        lab.put(wanted)
        name = f"{label}.a.example"
        assert lab["vm1"].dig(name, server=GATEWAY) == ["10.1.1.70"], label
        assert lab["vm1"].dig(f"alias.{label}", server=GATEWAY) == ["10.1.1.70"], label
