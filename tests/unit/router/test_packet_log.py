"""Whether there is a log of packets."""

from appliance.resources import Unit
from router import acl, packet_log
from tests.examples import document


def test_only_where_a_rule_logs() -> None:
    assert not list(packet_log.resources(document("two-networks")))
    units = [item.name for item in packet_log.resources(document("everything")) if isinstance(item, Unit)]
    assert units == ["sysvm-ulogd.service"]


def test_lines_begin_with_what_the_kernel_takes() -> None:
    longest = acl.Logged("", f"accept {'a' * 32}/{'r' * 63} ", "return")
    assert len(longest.title) < 128, "NF_LOG_PREFIXLEN"
