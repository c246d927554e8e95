"""A machine state as text: whole, in nft's own syntax, without a secret."""

from appliance.rendering import pieces, ruleset_text
from appliance.resources import Address, File, Password, Records, Ruleset, Sysctl


def test_pieces() -> None:
    assert list(
        pieces(
            [
                File(path="/run/a", content="x\ny\n", mode=0o600),
                Records(path="/run/b", records={"k": "one", "l": "two"}),
                Password(network="guest0", address="10.1.1.9", value="s3cret"),
                Address(link="guest0", address="10.1.1.1/24"),
                Sysctl(name="net/ipv4/ip_forward", value="0"),
            ]
        )
    ) == [
        "# file /run/a 0600\nx\ny\n",
        "# records /run/b 0644\none\ntwo\n",
        "password guest0/10.1.1.9 (kept until it is fetched)",
        "address link=guest0 address=10.1.1.1/24",
        "sysctl name=net/ipv4/ip_forward value=0",
    ]


def test_a_password_has_no_text() -> None:
    assert "s3cret" not in repr(Password(network="guest0", address="10.1.1.9", value="s3cret"))


def test_ruleset_text() -> None:
    ruleset = Ruleset(
        table="t", text="table inet t {}\n", elements={"s": {"1": None}, "m": {"1": "2"}, "e": {}}
    )
    assert ruleset_text(ruleset) == (
        "table inet t {}\nadd element inet t s {\n    1,\n}\nadd element inet t m {\n    1 : 2,\n}\n"
    )
