"""Every sentence that refuses a document, and the place that it points to."""

from importlib import import_module

import pytest

from appliance.model import merge_patch
from router.validation import CHECKS
from tests.examples import NAMES, document, example, looked_up, problems
from tests.unit.router.refused import Case
from tests.unit.router.refused.firewall import ingress
from tests.unit.router.refused.port_forwards import forward

ELSEWHERE = {"ipsec", "remote_access", "tunnels"}
"""`test_tunnel_validation` and `test_tunnel_networks` have theirs."""
NOUNS = sorted({check.__module__.rpartition(".")[2] for check in CHECKS} - ELSEWHERE)
CASES: dict[str, list[Case]] = {
    noun: import_module(f"tests.unit.router.refused.{noun}").CASES for noun in NOUNS
}


@pytest.mark.parametrize(
    ("noun", "case"),
    [(noun, case) for noun, cases in CASES.items() for case in cases],
    ids=lambda value: value[1] if isinstance(value, tuple) else value,
)
def test_sentences(noun: str, case: Case) -> None:
    patch, pointer, sentence = case
    value = merge_patch(example("everything"), patch)
    found = problems(value)
    assert [problem.pointer for problem in found] == [pointer]
    assert sentence in found[0].detail
    assert found[0].detail[0].isupper() or found[0].detail.startswith(("guest", "public"))
    looked_up(value, pointer)


@pytest.mark.parametrize("noun", NOUNS)
def test_every_check_is_tested(noun: str) -> None:
    assert CASES[noun]


@pytest.mark.parametrize("name", NAMES)
def test_examples_have_no_problems(name: str) -> None:
    value = document(name)
    for check in CHECKS:
        assert not list(check(value))


def test_all_that_is_wrong_is_said_at_once() -> None:
    value = merge_patch(example("everything"), {**forward(target="10.1.9.9"), **ingress(icmp_type=8)})
    assert [problem.pointer for problem in problems(value)] == [
        "/port_forwards/new/target", "/firewall/ingress/rules/new/icmp_type",
    ]  # fmt: skip
