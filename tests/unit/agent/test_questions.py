"""What questions may hold: typed, bounded, and nothing that a command could take for something else."""

from typing import Any

import pytest

from appliance.agent import capture, diagnosis, explanation, tracked
from appliance.model import Model, RefusedError, validated

HOSTILE = [
    "-w",
    "--",
    "-z reboot",
    "; reboot",
    "$(reboot)",
    "`id`",
    "a\nb",
    "\0",
    "",
    "10.1.1.1 -f",
    "../x",
    "é",
]
GOOD: list[tuple[type[Model], dict[str, Any]]] = [
    (diagnosis.Ping, {"target": "10.1.1.10", "link": "guest0"}),
    (diagnosis.Traceroute, {"target": "fd00::1", "link": "public0"}),
    (diagnosis.Arping, {"target": "10.1.1.10", "link": "guest0"}),
    (diagnosis.Lookup, {"name": "www.example.org", "type": "AAAA", "server": "10.1.1.1"}),
    (explanation.Question, {"from": "10.1.1.1", "to": "10.1.1.2", "protocol": "udp", "link": "guest0"}),
    (capture.Capture, {"link": "guest0"}),
    (tracked.Listing, {"guest": "10.1.1.10"}),
]
BOUNDS = [
    (diagnosis.Ping, "count", (0, 21, "4")),
    (diagnosis.Ping, "size", (-1, 65536)),
    (diagnosis.Traceroute, "hops", (0, 256)),
    (diagnosis.Arping, "count", (0, 1000)),
    (explanation.Question, "port", (0, 65536, "80")),
    (explanation.Question, "protocol", (-1, 256, "sctp")),
    (capture.Capture, "packets", (0, 10**7)),
    (capture.Capture, "seconds", (0, 601)),
    (capture.Capture, "bytes", (0, 2**30)),
    (capture.Capture, "filter", ("x" * 1025, "tcp\nudp", "\0")),
    (tracked.Listing, "limit", (0, 10**6)),
]


@pytest.mark.parametrize(("model", "values"), GOOD, ids=lambda value: getattr(value, "__name__", ""))
def test_no_text_becomes_an_option(model: type[Model], values: dict[str, Any]) -> None:
    validated(model, values)
    for name in values:
        for text in HOSTILE:
            with pytest.raises(RefusedError) as refused:
                validated(model, {**values, name: text})
            assert refused.value.problems[0].pointer == f"/{name}"
    with pytest.raises(RefusedError):
        validated(model, {**values, "another": 1})


@pytest.mark.parametrize(("model", "name", "wrong"), BOUNDS)
def test_everything_ends(model: type[Model], name: str, wrong: tuple[Any, ...]) -> None:
    good = next(values for kind, values in GOOD if kind is model)
    for value in wrong:
        with pytest.raises(RefusedError) as refused:
            validated(model, {**good, name: value})
        assert refused.value.problems[0].pointer == f"/{name}"


def test_a_cut_capture_is_a_file_all_the_same() -> None:
    import io
    import struct

    head = b"\xd4\xc3\xb2\xa1" + bytes(20)
    record = struct.pack("<IIII", 1, 2, 100, 100) + bytes(100)
    whole = head + 10 * record
    assert b"".join(capture._records(io.BytesIO(whole), 10**6)) == whole
    assert b"".join(capture._records(io.BytesIO(whole), 24 + 3 * 116)) == head + 3 * record
    assert b"".join(capture._records(io.BytesIO(whole[:-1]), 10**6)) == head + 9 * record
    assert b"".join(capture._records(io.BytesIO(b""), 10**6)) == b""


def test_questions_that_make_no_sense_are_told_so() -> None:
    for fields, words in (
        ({"to": "fd00::1"}, "different families"),
        ({"protocol": "icmp", "port": 5}, "need a port"),
        ({}, "need a port"),
        ({"port": 5, "icmp_type": 8}, "Only icmp"),
    ):
        question = validated(explanation.Question, {"from": "10.1.1.1", "to": "10.1.1.2", **fields})
        with pytest.raises(explanation.QuestionError, match=words):
            explanation._packet(question)
