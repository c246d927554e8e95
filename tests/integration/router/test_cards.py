"""Network cards that are plugged in and pulled while the router runs."""

from router_document import document
from router_lab import MACS, ROUTER, Lab, until

from appliance.runtime.runtime import Interface

NEW = "02:00:0a:01:03:01"
NEW_GUEST = "02:00:0a:01:03:0a"


def red(lab: Lab) -> dict[str, str]:
    """The checks that fail, and why."""
    health = lab.get("/v1/health?fresh")
    return {check["name"]: check["detail"] for check in health["checks"] if not check["ok"]}


def healthy(lab: Lab) -> bool:
    assert red(lab) == {}
    return True


def test_a_card_that_is_pulled_and_plugged_in_again(lab: Lab) -> None:
    assert lab["vm3"].dig("vm1.b.example", server="10.1.2.1") == ["10.1.2.10"]
    lab.containers.detach(ROUTER, MACS["guest1"])
    until(lambda: "link guest1" in red(lab), what="health says so")
    assert red(lab)["link guest1"] == "There is no network card for guest1"
    assert not any("guest0" in name for name in red(lab))
    # What there is of the document is in effect, and more of it can be pushed.
    assert lab.settled()["state"] == "converged"
    wanted = document()
    wanted["dhcp"]["guest1"]["reservations"][NEW_GUEST] = {"address": "10.1.2.77", "hostname": "late"}
    assert lab.put(wanted)["state"] == "converged"
    assert lab.works()
    lab.containers.attach(ROUTER, Interface(segment="guest1", mac=MACS["guest1"]))
    until(lambda: lab["vm3"].dig("late.b.example", server="10.1.2.1") == ["10.1.2.77"], seconds=15)
    until(lambda: healthy(lab), what="healthy again")
    assert lab.settled()["state"] == "converged"
    assert lab.drift() == []


def test_a_document_that_names_a_card_that_is_not_there_yet(lab: Lab) -> None:
    wanted = document()
    wanted["interfaces"]["guest2"] = {"mac": NEW, "addresses": ["10.1.3.1/24"]}
    wanted["dns"]["guest2"] = {"domain": "c.example"}
    wanted["dhcp"]["guest2"] = {"reservations": {NEW_GUEST: {"address": "10.1.3.10", "hostname": "vm9"}}}
    assert lab.put(wanted)["state"] == "converged"
    assert red(lab)["link guest2"] == "There is no network card for guest2"
    assert lab.works()
    lab.containers.switch.up(["guest2"])
    guest = lab.client("vm9", "guest2", NEW_GUEST, "10.1.3.10/24", gateway="10.1.3.1")
    lab.containers.attach(ROUTER, Interface(segment="guest2", mac=NEW))
    until(lambda: guest.dig("vm9.c.example", server="10.1.3.1") == ["10.1.3.10"], seconds=15)
    until(lambda: healthy(lab), what="healthy")
    # Without it again, the card is given up, and nothing of it is left.
    lab.put(document())
    lab.containers.detach(ROUTER, NEW)
    assert "10.1.3.1" not in lab.run("ip", "address")
    assert lab.drift() == []
