"""Application level gateways as tables of their own, and none that nobody asked for."""

from typing import Any

import pytest

from appliance.model import RefusedError, validated
from appliance.resources import Ruleset
from router import alg
from router.document import RouterDocument
from tests.examples import example


def tables(section: dict[str, Any]) -> dict[str, Ruleset]:
    document = validated(RouterDocument, {**example("minimal"), "alg": section})
    found = [item for item in alg.resources(document) if isinstance(item, Ruleset)]
    return {item.table: item for item in found}


def test_none_is_on_by_itself() -> None:
    assert tables({}) == {}


def test_each_is_a_table_of_its_own() -> None:
    found = tables({"ftp": {}, "sip": {"ports": [5062, 5060, 5060]}})
    assert found.keys() == {"sysvm_ftp", "sysvm_sip"}
    assert 'tcp dport { 21 } ct helper set "ftp_tcp"' in found["sysvm_ftp"].text
    assert "udp" not in found["sysvm_ftp"].text
    for protocol in ("tcp", "udp"):
        assert f'{protocol} dport {{ 5060, 5062 }} ct helper set "sip_{protocol}"' in found["sysvm_sip"].text
    assert found["sysvm_ftp"].modules == ("nf_nat_ftp",)


def test_both_families_but_for_what_has_one_only() -> None:
    found = tables({"ftp": {}, "pptp": {}, "sip": {}, "tftp": {}})
    families = {name: "l3proto inet" in table.text for name, table in found.items()}
    assert families == {"sysvm_ftp": True, "sysvm_pptp": False, "sysvm_sip": True, "sysvm_tftp": True}


@pytest.mark.parametrize(
    "section", [{"h323": {}}, {"ftp": {"ports": []}}, {"ftp": {"ports": [0]}}, {"ftp": {"ports": ["21"]}},
                {"ftp": {"ports": [1] * 9}}, {"ftp": None}]
)  # fmt: skip
def test_what_is_none(section: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        tables(section)
