"""What a rule that logs says of itself."""

from router import acl, firewall
from tests.examples import document, example, read


def test_lines_begin_with_what_the_kernel_takes() -> None:
    value = example("everything")
    name, longest = "a" * 32, "r" * 63
    value["acls"][name] = {
        "rules": {longest: {"number": 1, "direction": "ingress", "verdict": "accept", "log": True}}
    }
    value["firewall"]["egress"]["guest0"]["rules"][longest] = {
        "verdict": "accept", "protocol": "all", "log": True
    }  # fmt: skip
    made = read(value)
    lists = [rule for direction in acl.directions(made) for rule in direction.logged]
    for rule in (*lists, *firewall.logged(made)):
        # And a space.
        assert len(rule.title) + 1 < 128, "NF_LOG_PREFIXLEN"
        assert len(rule.chain) < 128, "NFT_NAME_MAXLEN is 256, and chains of old had 128"


def test_each_has_a_chain_of_its_own() -> None:
    made = document("everything")
    chains = [rule.chain for direction in acl.directions(made) for rule in direction.logged]
    chains += [rule.chain for rule in firewall.logged(made)]
    assert len(chains) == len(set(chains)) > 1
