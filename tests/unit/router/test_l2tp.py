"""Remote access by L2TP: a connection, files for xl2tpd and pppd, and what the packet filter lets in."""

from typing import Any

import pytest

from appliance.model import merge_patch
from appliance.rendering import pieces
from appliance.resources import AddressPool, Connection, File, L2tpServer, Resource, Ruleset, SharedSecret
from appliance.roles import resources as all_resources
from appliance.route import Route
from router import ipsec, l2tp, remote_access, ruleset, tunnel_filter
from tests.examples import document, example, problems, read


def patched(**fields: Any) -> Any:
    return merge_patch(example("everything"), {"remote_access": fields})


def resources(**fields: Any) -> list[Resource]:
    return list(l2tp.resources(read(patched(**fields))))


def settings(**fields: Any) -> Any:
    (found,) = [item for item in resources(**fields) if isinstance(item, Connection)]
    assert found.users and found.link is None and not found.initiate
    return found.settings


def content(path: str, **fields: Any) -> str:
    (found,) = [item for item in resources(**fields) if isinstance(item, File) and item.path == path]
    return found.content


def test_without_it_there_is_nothing() -> None:
    assert list(l2tp.resources(document("minimal"))) == []
    assert resources(l2tp=None) == []


def test_obsolete_algorithms_are_asked_for() -> None:
    def weak(**fields: Any) -> bool:
        found = settings(**fields)
        proposals = [*found["proposals"], *found["children"]["l2tp"]["esp_proposals"]]
        return any("3des" in text or "modp1024" in text for text in proposals)

    assert weak() and not weak(l2tp={"obsolete": None})


def test_the_key_is_found_by_an_identity_that_no_tunnel_has() -> None:
    """Or whoever knows it could pass for a site: strongSwan tries all keys that fit either side."""
    (secret,) = [item for item in resources() if isinstance(item, SharedSecret)]
    assert secret.owners == (settings()["local-1"]["id"],) == ("fqdn:203.0.113.7",)
    for name in ("fqdn:203.0.113.7", "203.0.113.7"):
        value = merge_patch(example("everything"), {"ipsec": {"office": {"local_id": name}}})
        refused = bool(problems(value))
        tunnels = [] if refused else list(ipsec.resources(read(value)))
        sites = [item.settings for item in tunnels if isinstance(item, Connection)]
        assert refused or all(site["local-1"]["id"] not in secret.owners for site in sites)  # type: ignore[call-overload, index]


def test_pool() -> None:
    assert [item.destination for item in resources() if isinstance(item, Route)] == ["10.201.0.0/24"]
    lines = content(l2tp.CONFIGURATION).splitlines()
    assert "local ip = 10.201.0.1" in lines and "ip range = 10.201.0.2-10.201.0.254" in lines
    assert "listen-addr = 203.0.113.7" in lines


def test_names_are_told_by_ipv4() -> None:
    dns = ["fd00:1::1", "10.1.1.1", "10.1.1.2", "10.1.1.3"]
    told = [line for line in content(l2tp.OPTIONS, dns=dns).splitlines() if line.startswith("ms-dns")]
    assert told == ["ms-dns 10.1.1.1", "ms-dns 10.1.1.2"]


def test_users_are_those_of_remote_access() -> None:
    found = resources()
    (server,) = [item for item in found if isinstance(item, L2tpServer)]
    assert server.users == ("alice", "bob@example.org")
    (secrets,) = [item for item in found if isinstance(item, File) and item.path == l2tp.SECRETS]
    assert secrets.mode == 0o600 and secrets.secret
    told = "".join(pieces(found)) + repr([item for item in found if not isinstance(item, File)])
    assert "only an example" not in told


@pytest.mark.parametrize(
    "password", ['a "quoted" one', "back\\slash", 'both\\"', "'", "# no comment", " * ", "*"]
)
def test_a_password_is_one_word(password: str) -> None:
    """Read as pppd does: a word in quotes, where a backslash takes the next character as it is."""
    text = content(
        l2tp.SECRETS, users={"alice": None, "bob@example.org": None, "eve": {"password": password}}
    )
    (line,) = [line for line in text.splitlines() if not line.startswith("#")]
    assert words(line) == ["eve", "*", password, "*"]


def words(line: str) -> list[str]:
    found, quoted, rest = [""], False, iter(line)
    for character in rest:
        if character == "\\":
            found[-1] += next(rest)
        elif character == '"':
            quoted = not quoted
        elif character == " " and not quoted:
            found.append("")
        else:
            found[-1] += character
    assert not quoted
    return found


def test_it_works_without_ikev2() -> None:
    value = patched(ikev2=None, pool=None)
    assert problems(value) == []
    assert list(remote_access.resources(read(value))) == []
    found = list(all_resources(read(value)))
    assert not [item for item in found if isinstance(item, AddressPool)]
    assert [item for item in found if isinstance(item, L2tpServer)]


def test_users_by_both_ways_may_pass_alike() -> None:
    found = tunnel_filter.elements(read(patched(users={"bob@example.org": {"reach": None}})))
    assert {"10.1.1.0/24 . 10.200.0.0/24", "10.1.1.0/24 . 10.201.0.0/24"} <= set(found["tunnel_pairs4"])
    assert set(found["tunnel_users4"]) == {"10.200.0.0/24", "10.201.0.0/24"}
    assert set(found["tunnel_source_nat"].values()) == {"203.0.113.7"}


def test_it_is_never_spoken_in_the_clear() -> None:
    def rules(**fields: Any) -> list[str]:
        made = list(ruleset.resources(read(patched(**fields))))
        (text,) = [item.text for item in made if isinstance(item, Ruleset)]
        return [line.strip() for line in text.splitlines()]

    let_in = [line for line in rules() if "1701" in line and line.endswith("accept") and "iifname" in line]
    assert len(let_in) == 3
    assert all("meta secpath exists" in line for line in let_in)
    assert "ip saddr 203.0.113.7 udp sport 1701 drop" in rules()
    assert not [line for line in rules(l2tp=None) if "1701" in line or "ppp" in line]
    addresses = {listener.address for listener in ipsec.listeners(read(patched(ikev2=None, pool=None)))}
    assert "203.0.113.7" in addresses
