"""Certificates of load balancers that can't be used are refused, each with a sentence."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from appliance import roles
from appliance.model import merge_patch
from router.document import RouterDocument
from router.validation import certificates
from tests.examples import example, problems, read
from tests.unit.router.pem import identity

CA, OTHER = identity("Authority", authority=True), identity("Other authority", authority=True)
WWW = identity("www.example.org", issuer=CA)
LEAFS = identity("leafs.example", issuer=WWW)
SPACED = WWW.certificate.replace("\n", " \n")
OLD = WWW.secret.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.BestAvailableEncryption(b"secret"),
).decode()
NONSENSE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def refused(**fields: Any) -> list[tuple[str, str]]:
    """Pointers and sentences, of the certificate `new` with these fields."""
    values = {"certificate": WWW.certificate, "key": WWW.key, **fields}
    value = merge_patch(example("minimal"), {"certificates": {"new": values}})
    return [
        (problem.pointer.removeprefix("/certificates/new/"), problem.detail) for problem in problems(value)
    ]


def test_a_good_one_is_taken() -> None:
    assert refused() == []
    assert refused(chain=CA.certificate) == []
    middle = identity("Middle", issuer=CA, authority=True)
    leaf = identity("leaf.example", issuer=middle)
    pair = {"certificate": leaf.certificate, "key": leaf.key}
    assert refused(**pair, chain=middle.certificate + CA.certificate) == []
    ((at, sentence),) = refused(**pair, chain=CA.certificate + middle.certificate)
    assert at == "chain"
    assert "'CN=leaf.example' isn't issued by 'CN=Authority', which comes next" in sentence


@pytest.mark.parametrize(
    ("fields", "at", "sentence"),
    [
        ({"key": OTHER.key}, "key", "its key is that of another certificate"),
        ({"key": WWW.encrypted()}, "key", "its key is encrypted; give it without a passphrase"),
        ({"key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, "key", "no private key"),
        ({"key": WWW.certificate}, "key", "no private key"),
        ({"key": "not; PEM"}, "key", "must be PEM"),
        ({"certificate": WWW.key}, "certificate", "there is no one certificate in PEM"),
        ({"certificate": WWW.certificate + CA.certificate}, "certificate", "further ones belong in chain"),
        ({"certificate": NONSENSE}, "certificate", "there is no one certificate in PEM"),
        ({"chain": OTHER.certificate}, "chain", "isn't issued by 'CN=Other authority'"),
        ({"certificate": LEAFS.certificate, "key": LEAFS.key, "chain": WWW.certificate},
         "chain", "'CN=www.example.org' is no authority"),
        ({"certificate": SPACED}, "certificate", "should match pattern"),
        ({"key": OLD}, "key", "its key is encrypted"),
        ({"key": WWW.key.replace("\n", " \n")}, "key", "no private key"),
        ({"chain": CA.key}, "chain", "there is no certificate in PEM"),
    ],
)  # fmt: skip
def test_a_bad_one_is_refused(fields: dict[str, str], at: str, sentence: str) -> None:
    ((pointer, said),) = refused(**fields)
    assert pointer == at
    assert sentence in said
    assert WWW.key not in said


@pytest.mark.parametrize(
    ("kind", "sentence"), [("weak", "RSA key has 1024 bits"), ("ed25519", "neither of RSA nor")]
)
def test_keys_that_clients_cant_use(kind: str, sentence: str) -> None:
    found = identity("weak.example", issuer=CA, kind=kind)
    ((pointer, said),) = refused(certificate=found.certificate, key=found.key)
    assert pointer == "key"
    assert sentence in said


@pytest.mark.parametrize(
    ("days", "sentence"), [((-30, -1), "its time has ended"), ((5, 30), "its time begins")]
)
def test_its_time(days: tuple[int, int], sentence: str) -> None:
    late = identity("late.example", issuer=CA, days=days)
    ((pointer, said),) = refused(certificate=late.certificate, key=late.key)
    assert pointer == "certificate"
    assert sentence in said
    ended = identity("Ended authority", days=days, authority=True)
    leaf = identity("www.example.org", issuer=ended)
    ((pointer, said),) = refused(certificate=leaf.certificate, key=leaf.key, chain=ended.certificate)
    assert pointer == "chain"


def test_what_runs_already_goes_on_past_its_time() -> None:
    late = identity("late.example", issuer=CA, days=(-30, -1))
    values = {"certificates": {"old": {"certificate": late.certificate, "key": late.key}}}
    value = merge_patch(example("minimal"), values)
    running = roles.read_again("router", value)
    assert isinstance(running, RouterDocument)
    assert roles.read("router", value, running=running) == running
    # Built anew, the router has nothing yet: better this than no router.
    assert roles.read("router", value, running=roles.empty("router", "r1")) == running
    assert [problem.pointer for problem in certificates.lapsed(running, read(example("minimal")))] == [
        "/certificates/old/certificate"
    ]


def test_its_key_is_shown_to_nobody() -> None:
    document = read(example("everything"))
    key = document.certificates["www"].key.get_secret_value()
    body = key.splitlines()[1]
    assert body not in repr(document)
    assert body not in document.model_dump_json()
    assert body not in "".join(map(repr, roles.resources(document)))
