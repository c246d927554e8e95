"""A guest's password: handed out once, and nowhere after that."""

import json
from typing import Any

from router_document import VM1, VM2, document
from router_lab import Lab, until

SECRET = "correct-horse-battery"


def with_password(password: str | None, *, mac: str = VM1) -> dict[str, Any]:
    wanted = document()
    if password is not None:
        wanted["metadata"]["guest0"]["guests"][mac]["password"] = password
    return wanted


def asked(lab: Lab, word: str, *, client: str = "vm1") -> str:
    return lab[client].http("/", server="10.1.1.1", port=8080, headers={"DomU_Request": word}).text


def fetch(lab: Lab, *, client: str = "vm1") -> str:
    """The password protocol as guests speak it: fetch, then say that it arrived."""
    password = asked(lab, "send_my_password", client=client)
    if password not in ("saved_password", "bad_request"):
        asked(lab, "saved_password", client=client)
    return password


def found(lab: Lab, secret: str) -> list[str]:
    """Files of the router that hold it."""
    places = ("/var/lib/sysvm", "/run", "/tmp", "/var/log")
    return lab.run("grep", "-rlaF", secret, *places, check=False).split()


def test_it_is_fetched_once_and_gone_from_the_disk(lab: Lab) -> None:
    lab.put(with_password(None))
    lab.put(with_password(SECRET))
    assert asked(lab, "send_my_password", client="vm2") == "saved_password"
    assert found(lab, SECRET) == ["/var/lib/sysvm/passwords/guest0/10.1.1.10"]
    assert asked(lab, "send_my_password") == SECRET
    # Not yet acknowledged: it is given again.
    assert fetch(lab) == SECRET
    until(lambda: found(lab, SECRET) == [])
    assert fetch(lab) == "saved_password"

    # The same document again, in any way, brings it back for nobody.
    running = lab.get("/v1/config")["generation"]
    same = lab.request("PUT", "/v1/config", with_password(SECRET) | {"generation": running})
    assert (same.status, same.json["changes"]) == (200, [])
    lab.put(with_password(SECRET))
    lab.run("systemctl", "restart", "sysvm-agent")
    lab.ready()
    lab.put(with_password(SECRET))
    lab.power_cut()
    lab.ready()
    lab.put(with_password(SECRET))
    until(lambda: fetch(lab) == "saved_password")
    assert found(lab, SECRET) == []

    # A new one is a new one; the same text can be another guest's.
    lab.put(with_password(SECRET + "-2"))
    assert fetch(lab) == SECRET + "-2"
    lab.put(with_password(SECRET, mac=VM2))
    assert fetch(lab, client="vm2") == SECRET


def test_unfetched_it_survives_restarts_and_a_power_cut(lab: Lab) -> None:
    lab.put(with_password(None))
    lab.put(with_password(SECRET))
    lab.run("systemctl", "restart", "sysvm-agent", "sysvm-metadata")
    lab.ready()
    lab.power_cut()
    lab.ready()
    until(lambda: asked(lab, "send_my_password") == SECRET)
    assert fetch(lab) == SECRET
    until(lambda: found(lab, SECRET) == [])
    lab.power_cut()
    until(lambda: fetch(lab) == "saved_password", seconds=20)


def test_it_goes_with_its_guest(lab: Lab) -> None:
    lab.put(with_password(None))
    lab.put(with_password(SECRET))
    lab.put(with_password(None))
    assert found(lab, SECRET) == []
    assert fetch(lab) == "saved_password"


def test_it_moves_with_its_guest(lab: Lab) -> None:
    """A guest that gets another address keeps the password that waits, and the one it fetched stays gone."""
    lab.put(with_password(None))
    lab.put(with_password(SECRET))
    move = {"dhcp": {"guest0": {"reservations": {VM1: {"address": "10.1.1.60"}}}}}
    lab.patch(move)
    assert found(lab, SECRET) == ["/var/lib/sysvm/passwords/guest0/10.1.1.60"]
    guest = lab["vm1"]
    guest.move("10.1.1.60/24", gateway="10.1.1.1")
    try:
        until(lambda: asked(lab, "send_my_password") == SECRET)
        assert fetch(lab) == SECRET
        moved = with_password(SECRET)
        moved["dhcp"]["guest0"]["reservations"][VM1]["address"] = "10.1.1.61"
        lab.put(moved)
        assert found(lab, SECRET) == []
    finally:
        guest.move("10.1.1.10/24", gateway="10.1.1.1")


def test_guests_that_swap_addresses_keep_their_own(lab: Lab) -> None:
    lab.put(with_password(None))
    both = with_password(SECRET)
    both["metadata"]["guest0"]["guests"][VM2]["password"] = SECRET + "-2"
    lab.put(both)
    reservations = both["dhcp"]["guest0"]["reservations"]
    addresses = [reservations[mac]["address"] for mac in (VM1, VM2)]
    reservations[VM1]["address"], reservations[VM2]["address"] = reversed(addresses)
    lab.put(both)
    directory = "/var/lib/sysvm/passwords/guest0"
    assert lab.run("cat", f"{directory}/{addresses[1]}") == SECRET
    assert lab.run("cat", f"{directory}/{addresses[0]}") == SECRET + "-2"
    assert lab.drift() == []


def test_a_crash_in_between_leaves_no_password_of_nobody(lab: Lab) -> None:
    lab.put(with_password(None))
    lab.sh("d=/var/lib/sysvm/passwords/guest0; echo orphan-secret > $d/10.1.1.77; mkdir -p $d/../guest7; "
           "echo orphan-secret > $d/../guest7/10.1.1.78")  # fmt: skip
    lab.kill_agent()
    assert found(lab, "orphan-secret") == []


def test_it_is_shown_nowhere(lab: Lab) -> None:
    lab.put(with_password(None))
    generation = lab.get("/v1/config")["generation"] + 1
    said = [lab.request("POST", "/v1/plan", with_password(SECRET) | {"generation": generation}).text]
    bad = with_password(SECRET) | {"generation": generation}
    said.append(lab.request("PUT", "/v1/config", bad | {"colour": 1}).text)
    bad["metadata"]["guest0"]["guests"][VM2]["password"] = {"text": SECRET}
    said.append(lab.request("PUT", "/v1/config", bad).text)
    bad = with_password(SECRET)
    bad["routes"] = {"bad": {"destination": "192.0.2.0/24", "gateway": "10.1.1.255"}}
    said.append(json.dumps(lab.put(bad, status=500)))
    said.append(json.dumps(lab.put(with_password(SECRET))))
    said += [lab.request("GET", path).text for path in
             ("/v1/config", "/v1/status", "/v1/health", "/metrics", "/v1/openapi.json")]  # fmt: skip
    assert fetch(lab) == SECRET
    said.append(lab.run("journalctl", "--no-pager", "--output", "verbose"))
    said.append(lab.containers.status("r1").console.read_text(errors="replace"))
    assert not [text for text in said if SECRET in text]
    assert '"**********"' in lab.request("GET", "/v1/config").text
