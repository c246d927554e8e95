"""The archive that somebody takes along to find out what is wrong: all is in it, and no secret."""

import io
import json
import re
import tarfile
from typing import Any

from ipsec_lab import tunnel
from router_lab import Lab, until
from test_remote_access import KEY, access

from tests.examples import read
from tests.unit.agent.test_redaction import secrets
from tests.wireguard_peer import new_key

SHARED, PSK = new_key(), "seventeen narwhals under the ice"
"""Of this test alone: another one may look for its own in the journal."""


def wanted() -> dict[str, Any]:
    value = access()
    value["ipsec"] = {"site": tunnel("site", psk=PSK)}
    value["wireguard"] = {
        "vpn0": {
            "private_key": new_key(),
            "listen": {"addresses": ["203.0.113.2"]},
            "addresses": ["10.99.0.1/24"],
            "peers": {
                "alice": {
                    "public_key": new_key(), "preshared_key": SHARED, "allowed_ips": ["10.99.0.2/32"],
                }
            },
        }
    }  # fmt: skip
    guest = next(iter(value["metadata"]["guest0"]["guests"].values()))
    guest["password"] = "Zebra-7-Quagga"
    return value


def collected(lab: Lab) -> dict[str, str]:
    with lab.agent() as agent:
        content = b"".join(agent.diagnostics())
    assert len(content) < 8 << 20
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        members = {
            member.name: file.read().decode()
            for member in archive.getmembers()
            if (file := archive.extractfile(member)) is not None
        }
    assert all(name.startswith("r1-diagnostics/") for name in members)
    return {name.partition("/")[2]: text for name, text in members.items()}


def test_all_is_in_it_and_no_secret(lab: Lab) -> None:
    document = wanted()
    lab.put(document)
    # Somebody's own program isn't as careful.
    for secret in (PSK, SHARED):
        lab.run("systemd-cat", "-t", "careless", "echo", f"the secret is {secret}, don't tell")
    until(lambda: "don't tell" in lab.run("journalctl", "-t", "careless", "--no-pager"))
    found = collected(lab)
    known = secrets(read({**document, "generation": 1}).model_dump())
    assert len(known) > 6
    for name, text in found.items():
        for secret in [*known, *KEY.splitlines()[1:-1], "Zebra-7-Quagga"]:
            assert secret not in text and json.dumps(secret)[1:-1] not in text, name
    assert "the secret is **********, don't tell" in found["logs/journal.log"]
    assert json.loads(found["status.json"])["state"] == "converged"
    assert json.loads(found["plan.json"]) == []
    assert json.loads(found["config.json"])["interfaces"] == document["interfaces"]
    assert json.loads(found["leases.json"])["guest0"]["reserved"] == 2
    assert json.loads(found["connections.json"])["total"] >= 1
    assert "sysvm" in json.loads(found["about.json"])["versions"]
    assert "table inet sysvm " in found["network/ruleset.nft"]
    assert "10.1.1.0/24 dev guest0" in found["network/routes4.txt"]
    assert "sysvm-agent.service" in found["system/units.txt"]
    assert "# file /run/sysvm" in found["state.txt"]
    assert not [name for name, text in found.items() if re.search(r"Error\(", text.partition("\n")[0])]


def test_who_asks_for_it_and_goes_away_keeps_nobody_from_it(lab: Lab) -> None:
    with lab.agent() as agent:
        next(agent.diagnostics())
    until(lambda: lab.request("HEAD", "/v1/diagnostics").status == 200, seconds=60)
    assert collected(lab)["status.json"]
