from typing import Any

from tests.unit.router.refused import Case


def acl_rule(**fields: Any) -> dict[str, Any]:
    return {
        "acls": {
            "front": {
                "rules": {"new": {"number": 99, "direction": "ingress", "verdict": "accept", **fields}}
            }
        }
    }


CASES: list[Case] = [
    (acl_rule(number=10), "/acls/front/rules/new/number", "number 10 of ingress is web's, too"),
    (acl_rule(ports=[80]), "/acls/front/rules/new/ports", "only tcp and udp have ports"),
    (
        acl_rule(protocol="tcp", icmp_type=8),
        "/acls/front/rules/new/icmp_type",
        "only icmp and icmpv6 have types",
    ),
    (acl_rule(protocol="icmp", icmp_code=8), "/acls/front/rules/new/icmp_code", "a code is of a type"),
    (
        acl_rule(protocol="icmp", cidrs=["10.0.0.0/8", "fd00::/8"]),
        "/acls/front/rules/new/cidrs/1",
        "icmp has no part in fd00::/8",
    ),
    ({"tiers": {"guest2": {"acl": "gone"}}}, "/tiers/guest2/acl", "there is no access list gone"),
    ({"tiers": {"guest9": {"acl": "front"}}}, "/tiers/guest9", "guest9 is no guest interface"),
    ({"tiers": {"guest0": {"acl": "front"}}}, "/firewall/egress/guest0", "the firewall has no say"),
    (
        {"private_gateways": {"private0": {"acl": "gone"}}},
        "/private_gateways/private0/acl",
        "there is no access list gone",
    ),
    (
        {"private_gateways": {"guest0": {}}},
        "/private_gateways/guest0",
        "guest0 is no private interface",
    ),
    (
        {
            "interfaces": {"private0": {"addresses": ["fd00:3::1/64"]}},
            "routes": {"branch": None, "depot": None},
        },
        "/private_gateways/private0/source_nat",
        "has no IPv4 address to go out with",
    ),
    (
        {
            "acls": {
                "front": {
                    "rules": {
                        f"deep{n}": {
                            "number": 100 + n,
                            "direction": "ingress",
                            "verdict": "drop",
                            "protocol": "udp",
                            "ports": [f"{n + 1}-{n + 100}"],
                        }
                        for n in range(70)
                    }
                }
            }
        },
        "/acls/front/rules",
        "more than 64 of its rules overlap",
    ),
]
