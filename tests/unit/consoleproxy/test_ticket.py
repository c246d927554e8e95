"""Tickets: good ones are taken, and nothing else is."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from consoleproxy.console_server.ticket import Ticket, TicketError, read, same_address, sign

KEY = Ed25519PrivateKey.generate()
KEYS = {"main": KEY.public_key()}
NOW = 1_800_000_000.0
CLAIMS: dict[str, Any] = {
    "aud": "p1",
    "sub": "ann",
    "console": "vm1",
    "rights": ["control"],
    "exp": NOW + 60,
    "jti": "n1",
}


def taken(text: str, client: str = "192.0.2.1") -> Ticket:
    return read(text, keys=KEYS, audience="p1", now=NOW, client=client)


def refused(text: str, client: str = "192.0.2.1") -> str:
    with pytest.raises(TicketError) as caught:
        taken(text, client)
    return caught.value.code


def test_a_good_one() -> None:
    ticket = taken(sign(KEY, CLAIMS, issuer="main"))
    assert (ticket.user, ticket.console, ticket.rights) == ("ann", "vm1", {"view", "control"})
    assert taken(sign(KEY, CLAIMS)) == ticket
    assert taken(sign(KEY, CLAIMS | {"aud": ["p0", "p1"]})) == ticket


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": NOW}, "ticket-expired"),
        ({"exp": NOW + 86_400}, "ticket-invalid"),
        ({"nbf": NOW + 60}, "ticket-invalid"),
        ({"aud": "p2"}, "ticket-foreign"),
        ({"aud": []}, "ticket-foreign"),
        ({"rights": []}, "ticket-invalid"),
        ({"rights": "control"}, "ticket-invalid"),
        ({"rights": ["root"]}, "ticket-invalid"),
        ({"rights": [["view"]]}, "ticket-invalid"),
        ({"jti": ""}, "ticket-invalid"),
        ({"sub": "a\nb"}, "ticket-invalid"),
        ({"sub": None}, "ticket-invalid"),
        ({"exp": True}, "ticket-invalid"),
        ({"exp": float("inf")}, "ticket-invalid"),
        ({"exp": "soon"}, "ticket-invalid"),
        ({"client": "192.0.2.9"}, "ticket-elsewhere"),
        ({"client": "anywhere"}, "ticket-elsewhere"),
    ],
)
def test_wrong_claims(changes: dict[str, Any], code: str) -> None:
    assert refused(sign(KEY, CLAIMS | changes)) == code


@pytest.mark.parametrize("name", ["aud", "sub", "console", "rights", "exp", "jti"])
def test_missing_claims(name: str) -> None:
    assert (
        refused(sign(KEY, {key: value for key, value in CLAIMS.items() if key != name})) == "ticket-invalid"
    )


def test_signatures() -> None:
    good = sign(KEY, CLAIMS)
    head, claims, signature = good.split(".")
    assert refused(sign(Ed25519PrivateKey.generate(), CLAIMS)) == "ticket-foreign"
    assert refused(sign(KEY, CLAIMS, issuer="other")) == "ticket-foreign"
    other = sign(KEY, CLAIMS | {"console": "vm2"}).split(".")[1]
    assert refused(f"{head}.{other}.{signature}") == "ticket-foreign"
    for algorithm in ("none", "HS256", None):
        forged = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).rstrip(b"=").decode()
        assert refused(f"{forged}.{claims}.{signature}") == "ticket-invalid"
        assert refused(f"{forged}.{claims}.") == "ticket-invalid"


def test_bound_addresses() -> None:
    bound = sign(KEY, CLAIMS | {"client": "192.0.2.1"})
    assert taken(bound, "::ffff:192.0.2.1")
    assert refused(bound, "192.0.2.2") == "ticket-elsewhere"
    assert not same_address("x", "x")


def test_only_one_form() -> None:
    good = sign(KEY, CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [good[:-1] + letter for letter in alphabet if letter != good[-1]]
    assert {refused(other) for other in others} <= {"ticket-invalid", "ticket-foreign"}


@given(
    st.text(max_size=200)
    | st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(
        lambda parts: ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    )
)
@settings(max_examples=100)
def test_anything_else_is_refused(text: str) -> None:
    refused(text)


@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "client", "nbf"]),
        st.none() | st.integers() | st.text() | st.floats() | st.lists(st.text(max_size=3), max_size=3),
    )
)
@settings(max_examples=100)
def test_signed_nonsense_is_refused_or_read(changes: dict[str, Any]) -> None:
    """Also who has the key makes nothing but TicketError happen."""
    try:
        taken(sign(KEY, CLAIMS | changes))
    except TicketError:
        return
