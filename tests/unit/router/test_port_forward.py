"""Port forwards as elements of maps."""

from typing import Any

from router import port_forward
from tests.examples import example, read


def elements(**fields: Any) -> dict[str, dict[str, str | None]]:
    value = example("router")
    value["static_nat"] = {}
    value["port_forwards"] = {
        "one": {"address": "203.0.113.5", "protocol": "tcp", "target": "10.1.1.10", **fields}
    }
    return {name: items for name, items in port_forward.elements(read(value)).items() if items}


def test_one_port() -> None:
    wanted = {"forward_port": {"8080 . 203.0.113.5 . 6": "10.1.1.10 . 80"}}
    assert elements(ports=8080, target_ports=80) == wanted
    assert elements(ports="8080", target_ports="80") == wanted
    assert elements(ports=80, protocol="udp") == {
        "forward_port": {"80 . 203.0.113.5 . 17": "10.1.1.10 . 80"}
    }


def test_a_range_keeps_its_ports_in_one_element() -> None:
    wanted = {"forward_range": {"100-65535 . 203.0.113.5 . 6": "10.1.1.10"}}
    assert elements(ports="100-65535") == wanted
    assert elements(ports="100-65535", target_ports="100-65535") == wanted


def test_a_shifted_range_is_an_element_a_port() -> None:
    assert elements(ports="100-102", target_ports="200-202") == {
        "forward_port": {f"{100 + n} . 203.0.113.5 . 6": f"10.1.1.10 . {200 + n}" for n in range(3)}
    }


def test_chosen_sources() -> None:
    sources = ["192.0.2.0/25", "192.0.2.128/25", "198.51.100.7/32"]
    assert elements(ports=22, source_cidrs=sources) == {
        "forward_port_from": {
            f"22 . {source} . 203.0.113.5 . 6": "10.1.1.10 . 22"
            for source in ("192.0.2.0/24", "198.51.100.7")
        }
    }
    assert elements(ports="1-2", source_cidrs=["0.0.0.0/0"]) == {
        "forward_range_from": {"1-2 . 0.0.0.0/0 . 203.0.113.5 . 6": "10.1.1.10"}
    }
