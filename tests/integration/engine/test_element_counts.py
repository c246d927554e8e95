"""What elements have counted, in the kernel: kept where they are cut otherwise, moved, or swapped."""

from appliance.engine.elements import Count
from appliance.engine.host import Host
from appliance.engine.ruleset import counted
from appliance.engine.transaction import converge
from appliance.resources import Ruleset
from tests.integration.engine.conftest import Run

STRUCTURE = """table inet sysvm {
    map ports { type inet_service . ipv4_addr : verdict; flags interval; counter
    }
    set crowd { type ipv4_addr . inet_service; flags interval; counter
    }
    chain c {
    }
}
"""
COUNTING = {
    "ports": ("ports", ("port", "far")),
    "crowd": ("crowd", ("far", "port")),
}
Elements = dict[str, str | None]


def ruleset(ports: Elements, *, text: str = STRUCTURE) -> Ruleset:
    return Ruleset(table="sysvm", text=text, elements={"ports": ports, "crowd": {}}, counting=COUNTING)


def test_counts_go_on_where_elements_change(host: Host, run: Run) -> None:
    wide, first, rest = (f"{ports} . 10.0.0.0/8" for ports in ("10-30", "10-14", "15-30"))
    converge([ruleset({wide: "accept", "80 . 10.0.0.1": "accept"})], host)
    for key in (wide, "80 . 10.0.0.1"):
        # As packets would.
        run("nft", f"delete element inet sysvm ports {{ {key} }}; "
            f"add element inet sysvm ports {{ {key} counter packets 5 bytes 300 : accept }}")  # fmt: skip
    five = Count(5, 300)
    assert counted("sysvm", host) == {("ports", wide): five, ("ports", "80 . 10.0.0.1"): five}
    converge([ruleset({first: "accept", rest: "drop", "80 . 10.0.0.1": "accept"})], host, fresh=True)
    assert counted("sysvm", host) == {("ports", first): five, ("ports", "80 . 10.0.0.1"): five}
    # A part of the structure changes with the elements.
    part = STRUCTURE.replace("chain c {", "chain d {")
    converge([ruleset({wide: "accept", "80 . 10.0.0.1": "accept"}, text=part)], host)
    assert counted("sysvm", host) == {("ports", wide): five, ("ports", "80 . 10.0.0.1"): five}
    # So that all is made anew.
    other = STRUCTURE.replace("chain c {", "chain d {\n        type filter hook output priority 0;")
    converge([ruleset({wide: "accept", "80 . 10.0.0.1": "drop"}, text=other)], host)
    assert counted("sysvm", host) == {("ports", wide): five, ("ports", "80 . 10.0.0.1"): five}
    converge([ruleset({}, text=other)], host)
    assert counted("sysvm", host) == {}
