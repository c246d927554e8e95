"""The live ruleset's text by handle."""

from appliance.agent.trace import parsed

LISTING = """table inet sysvm { # handle 3
\tset web { # handle 1
\t\ttype ipv4_addr
\t}

\tchain spoofed { # handle 7
\t\ttype filter hook prerouting priority raw; policy accept;
\t\tiifname "guest0" ip saddr != { 0.0.0.0, 10.1.1.0/24,
\t\t\t\t\t       10.9.0.0/16 } drop # handle 12
\t\tip saddr @web drop # handle 13
\t}
}
table ip6 other { # handle 4
\tchain spoofed { # handle 1
\t\taccept # handle 12
\t}
}
"""


def test_rules_by_table_chain_and_handle() -> None:
    assert parsed(LISTING) == {
        ("sysvm", "spoofed", 12): 'iifname "guest0" ip saddr != { 0.0.0.0, 10.1.1.0/24, 10.9.0.0/16 } drop',
        ("sysvm", "spoofed", 13): "ip saddr @web drop",
        ("other", "spoofed", 12): "accept",
    }
