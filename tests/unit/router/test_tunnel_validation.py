"""Every sentence that refuses tunnels and remote access, and the place that it points to."""

from typing import Any

import pytest

from appliance import roles
from appliance.model import merge_patch
from router.document import RouterDocument
from router.validation import lapsed, warnings
from tests.examples import example, looked_up, problems, read

EVERYTHING = example("everything")
BRANCH = EVERYTHING["ipsec"]["branch"]["certificate"]
REMOTE = EVERYTHING["remote_access"]["ikev2"]
CERTIFICATE = "/ipsec/branch/certificate"
AEAD = {"encryption": "aes256gcm16", "hash": "sha256", "group": "ecp256"}
ENCRYPTED_KEY = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH=\n-----END ENCRYPTED PRIVATE KEY-----\n"
EXPIRED = """-----BEGIN CERTIFICATE-----
MIIBITCBx6ADAgECAgEBMAoGCCqGSM49BAMCMBoxGDAWBgNVBAMMD2V4cGlyZWQu
ZXhhbXBsZTAeFw0yMDAxMDEwMDAwMDBaFw0yMTAxMDEwMDAwMDBaMBoxGDAWBgNV
BAMMD2V4cGlyZWQuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOeh
mVkHlC7+h/HNdI75r2yP4pK0thMgttoeMzjOwAvnS+/eDWfzL7kndc+KzfnRjeaJ
NmbEiw6amjZrcnfLCgwwCgYIKoZIzj0EAwIDSQAwRgIhAJ1D9Sn2Oop9H+IVp76w
JDuzQ8ODVjaurLASAqnzbO+GAiEA0bqp1Xf+IEg2qGIp9T1NDLy7SKxYivos9/gx
U/jwppo=
-----END CERTIFICATE-----
"""


def office(**fields: Any) -> dict[str, Any]:
    return {"ipsec": {"office": fields}}


def branch(**fields: Any) -> dict[str, Any]:
    return {"ipsec": {"branch": {"certificate": fields}}}


def access(**fields: Any) -> dict[str, Any]:
    return {"remote_access": fields}


CASES: list[tuple[dict[str, Any], str, str]] = [
    (office(local_address="203.0.113.9"), "/ipsec/office/local_address", "no address of a public"),
    (office(local_address="10.1.1.1"), "/ipsec/office/local_address", "no address of a public"),
    (office(remote_address=None, remote_id=None), "/ipsec/office", "any address needs an ID"),
    (
        {"ipsec": {"old": {"remote_address": None, "remote_id": "old.example"}}},
        "/ipsec/old",
        "IKEv1 looks a pre-shared key up",
    ),
    (office(remote_address="203.0.113.6"), "/ipsec/office/remote_address", "own address"),
    (office(remote_address="2001:db8::9"), "/ipsec/office/remote_address", "differ in family"),
    (office(remote_address="192.168.5.9"), "/ipsec/office/remote_subnets/0", "the peer's own address"),
    (office(psk=None), "/ipsec/office", "either a pre-shared key or a certificate"),
    (
        office(certificate=example("everything")["ipsec"]["branch"]["certificate"]),
        "/ipsec/office",
        "either a pre-shared key or a certificate",
    ),
    (office(psk="fifteen letters"), "/ipsec/office/psk", "less than 16 characters"),
    (
        branch(private_key=REMOTE["private_key"]),
        f"{CERTIFICATE}/private_key",
        "is that of another certificate",
    ),
    (branch(private_key="no key"), f"{CERTIFICATE}/private_key", "no private key in PEM"),
    (branch(private_key=ENCRYPTED_KEY), f"{CERTIFICATE}/private_key", "encrypted"),
    (branch(peer_authority=EXPIRED), f"{CERTIFICATE}/peer_authority", "its time has ended"),
    (
        {"ipsec": {"old": {"ike": {"proposals": [AEAD]}}}},
        "/ipsec/old/ike/proposals/0",
        "IKEv1 can't be protected by aes256gcm16",
    ),
    (
        {"ipsec": {"old": {"obsolete": False}}},
        "/ipsec/old/ike/proposals/0",
        '3des, modp1024, sha1: obsolete, and taken only with "obsolete": true',
    ),
    (
        office(esp={"proposals": [{"encryption": "aes256", "hash": "md5"}]}),
        "/ipsec/office/esp/proposals/0",
        "md5: obsolete",
    ),
    ({"ipsec": {"branch": {"link": "guest5"}}}, "/ipsec/branch/link", "no name for a tunnel's link"),
    (office(link="vpn7"), "/ipsec/branch/link", "vpn7 is tunnel office's, too"),
    (
        {"wireguard": {"vpn0": example("wireguard")["wireguard"]["vpn0"]}, **office(link="vpn0")},
        "/ipsec/office/link",
        "vpn0 is a tunnel of WireGuard's; each has a name of its own",
    ),
    (
        branch(certificate=f"{BRANCH['certificate']}{BRANCH['certificate']}"),
        f"{CERTIFICATE}/certificate",
        "is no authority",
    ),
    (
        office(remote_subnets=["fd00:5::/48"], local_subnets=["10.1.1.0/24"]),
        "/ipsec/office/remote_subnets",
        "differ in family",
    ),
    (
        office(
            split_subnets=True,
            remote_subnets=[f"192.168.{n}.0/24" for n in range(100, 200)],
            local_subnets=["10.1.1.0/26", "10.1.1.64/26", "10.1.1.128/26"],
        ),
        "/ipsec/office/remote_subnets",
        "300 pairs of subnets; 256 at most",
    ),
    (office(local_subnets=["10.77.0.0/24"]), "/ipsec/office/local_subnets/0", "no route leads there"),
    (office(local_subnets=["0.0.0.0/0"]), "/ipsec/office/local_subnets/0", "no route leads there"),
    (office(remote_subnets=["10.1.1.64/26"]), "/ipsec/office/local_subnets/0", "the far side"),
    (office(remote_subnets=["10.1.0.0/16"]), "/ipsec/office/remote_subnets/0", "network of guest0"),
    (office(remote_subnets=["203.0.113.0/28"]), "/ipsec/office/remote_subnets/0", "network of public0"),
    (office(remote_subnets=["10.9.1.0/24"]), "/ipsec/office/remote_subnets/0", "of route lab"),
    (office(remote_subnets=["0.0.0.0/0"]), "/ipsec/office/remote_subnets/0", "overlaps everything"),
    (office(remote_address="198.51.100.21"), "/ipsec/old/remote_address", "is tunnel office's, too"),
    (office(remote_id="198.51.100.21"), "/ipsec/old", "is tunnel office's, too"),
    (office(remote_subnets=["192.168.7.0/24"]), "/ipsec/old/remote_subnets/0", "of tunnel office"),
    (office(remote_subnets=["192.168.0.0/21"]), "/ipsec/branch/remote_subnets/0", "of tunnel office"),
    (office(remote_id="*"), "/ipsec/office/remote_id", "must be an address, a name"),
    (office(remote_id="%any"), "/ipsec/office/remote_id", "must be an address, a name"),
    (
        office(esp={"proposals": [{"encryption": "aes256"}]}),
        "/ipsec/office/esp/proposals/0",
        "aes256 needs a hash",
    ),
    (
        office(esp={"proposals": [{"encryption": "aes256gcm16", "hash": "sha256"}]}),
        "/ipsec/office/esp/proposals/0",
        "takes no hash",
    ),
    (access(pool=["10.1.1.0/26"]), "/remote_access/pool/0", "overlaps the network of guest0"),
    (access(pool=["10.9.1.0/24"]), "/remote_access/pool/0", "of route lab"),
    (access(pool=["192.168.5.0/25"]), "/remote_access/pool/0", "of tunnel office"),
    (access(pool=["10.200.0.0/24", "10.201.0.0/24"]), "/remote_access/pool", "one network per family"),
    (access(pool=["10.200.0.0/31"]), "/remote_access/pool/0", "too few or too many"),
    (access(pool=["11.0.0.0/7"]), "/remote_access/pool/0", "without host bits"),
    (access(pool=[], dns=None), "/remote_access/pool", "users by IKEv2, who need one"),
    (access(ikev2=None), "/remote_access/pool", "users by IKEv2, who need one"),
    (access(ikev2=None, l2tp=None, pool=None), "/remote_access", "neither ikev2 nor l2tp"),
    (access(l2tp={"address": "2001:db8::5"}), "/remote_access/l2tp/address", "must be an IPv4 address"),
    (access(l2tp={"psk": "two lines, and\nlong enough"}), "/remote_access/l2tp/psk", "must be one line"),
    (access(l2tp={"psk": "**********"}), "/remote_access/l2tp/psk", "masked"),
    (access(l2tp={"pool": "10.201.0.1/24"}), "/remote_access/l2tp/pool", "without host bits"),
    (access(l2tp={"pool": "fd00:201::/64"}), "/remote_access/l2tp/pool", "must be an IPv4 network"),
    (access(l2tp={"pool": "10.1.1.0/26"}), "/remote_access/l2tp/pool", "overlaps the network of guest0"),
    (access(subnets=["10.77.0.0/24"]), "/remote_access/subnets/0", "no route leads there"),
    (
        access(dns=["fd00::1"], pool=["10.200.0.0/24"]),
        "/remote_access/dns/0",
        "of a family that no user",
    ),
    (access(full_tunnel=False), "/remote_access/source_nat", "with a split tunnel"),
    (access(source_nat="10.1.1.1"), "/remote_access/source_nat", "no IPv4 address of a public"),
    (access(ikev2={"address": "10.1.1.1"}), "/remote_access/ikev2/address", "no address of a public"),
    (
        access(ikev2={"identity": "other.example"}),
        "/remote_access/ikev2/identity",
        "subject alternative",
    ),
    (
        access(ikev2={"private_key": BRANCH["private_key"]}),
        "/remote_access/ikev2/private_key",
        "its key is that of another certificate",
    ),
    (access(users={"eve": {"password": "**********"}}), "/remote_access/users/eve/password", "masked"),
    (access(users={"eve": {"password": ""}}), "/remote_access/users/eve/password", "1 to 128"),
    (access(users={"eve": {"password": "pässword"}}), "/remote_access/users/eve/password", "ASCII"),
    (
        access(users={"alice": {"reach": ["guest9"]}}),
        "/remote_access/users/alice/reach/0",
        "guest9 is no guest",
    ),
    (
        access(users={"alice": {"reach": ["guest0", "public0"]}}),
        "/remote_access/users/alice/reach/1",
        "user alice: public0 is no guest interface",
    ),
    (access(users={"alice": {"reach": ["guest0;x"]}}), "/remote_access/users/alice/reach/0", "match"),
    (access(users={"%any": {"password": "x"}}), "/remote_access/users/%any", "match pattern"),
]


@pytest.mark.parametrize(("patch", "pointer", "text"), CASES, ids=lambda value: str(value)[-40:])
def test_sentences(patch: dict[str, Any], pointer: str, text: str) -> None:
    value = merge_patch(EVERYTHING, patch)
    found = [(problem.pointer, problem.detail) for problem in problems(value)]
    assert any(place == pointer and text in detail for place, detail in found), found
    assert not any("only an example" in detail or "PRIVATE" in detail for _, detail in found)
    if pointer.rpartition("/")[2] in str(patch):
        looked_up(value, pointer)


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        (branch(certificate=EXPIRED), f"{CERTIFICATE}/certificate"),
        (branch(peer_authority=EXPIRED), f"{CERTIFICATE}/peer_authority"),
        (access(ikev2={"certificate": EXPIRED}), "/remote_access/ikev2/certificate"),
    ],
)
def test_what_runs_already_goes_on_past_its_time(patch: dict[str, Any], pointer: str) -> None:
    """It stands in nobody's way, and the status warns of it."""
    running = RouterDocument.model_validate(merge_patch(EVERYTHING, patch))
    assert [problem.pointer for problem in lapsed(running, running)] == []
    ((warned,), (refused,)) = lapsed(running), lapsed(running, read(EVERYTHING))
    assert warned == refused
    assert warned.pointer == pointer
    assert "its time has ended 2021-01-01" in warned.detail
    # Nor is a router refused that is built anew.
    empty = roles.empty("router", "r1")
    assert isinstance(empty, RouterDocument)
    assert lapsed(running, empty) == []


def test_two_tunnels_may_lead_to_one_network_from_different_ones() -> None:
    assert not problems(
        merge_patch(
            EVERYTHING,
            {"ipsec": {"old": {"local_subnets": ["10.1.16.0/20"], "remote_subnets": ["192.168.5.0/24"]}}},
        )
    )


def warned(patch: dict[str, Any]) -> dict[str, str]:
    found = warnings(RouterDocument.model_validate(merge_patch(EVERYTHING, patch)))
    return {problem.pointer: problem.detail for problem in found}


def test_what_is_obsolete_is_warned_of_for_as_long_as_it_is_let_in() -> None:
    found = warned({})
    assert found == {
        "/ipsec/old/version": "Tunnel old: IKEv1 is obsolete (RFC 9395)",
        "/ipsec/old/ike/proposals/0": (
            "Tunnel old: 3des, modp1024, sha1: obsolete (RFC 8221, RFC 8247), and let in"
        ),
        "/remote_access/l2tp/obsolete": ("L2TP: 3des, modp1024: obsolete (RFC 8221, RFC 8247), and let in"),
    }
    assert warned({"ipsec": {"old": None}, **access(l2tp={"obsolete": None})}) == {}
    # Allowed, and not made use of.
    assert warned({"ipsec": {"old": {"version": 2, "ike": None, "esp": None}}}).keys() == {
        "/remote_access/l2tp/obsolete"
    }


@pytest.mark.parametrize("used", ["3des", "md5", "sha1", "modp1024", "modp1536"])
@pytest.mark.parametrize("section", ["ike", "esp"])
def test_each_obsolete_algorithm_is_refused_or_warned_of(section: str, used: str) -> None:
    proposal = {"encryption": "aes256", "hash": "sha256", "group": "modp2048"}
    key = "encryption" if used == "3des" else "group" if used.startswith("modp") else "hash"
    place = f"/ipsec/office/{section}/proposals/0"
    change = {section: {"proposals": [{**proposal, key: used}]}}
    (refused,) = problems(merge_patch(EVERYTHING, office(**change)))
    assert refused.pointer == place and f"{used}: obsolete" in refused.detail
    assert used in warned(office(**change, obsolete=True))[place]
    assert not problems(merge_patch(EVERYTHING, office(**change, obsolete=True)))
