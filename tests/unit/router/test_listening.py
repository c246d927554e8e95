"""What the router itself serves, as elements."""

from router.listening import SETS, Listener, elements


def test_by_family_and_by_whether_there_are_ports() -> None:
    found = elements(
        [
            Listener("203.0.113.5", 6, (443, 443)),
            Listener("2001:db8::5", 17, (500, 510), open=True),
            Listener("203.0.113.5", 50, open=True),
            Listener("ff02::12", 112),
        ]
    )
    assert {name: list(keys) for name, keys in found.items() if keys} == {
        "listening_ports4": ["443 . 203.0.113.5 . 6"],
        "listening_ports6": ["500-510 . 2001:db8::5 . 17"],
        "open_ports6": ["500-510 . 2001:db8::5 . 17"],
        "listening_protocols4": ["203.0.113.5 . 50"],
        "open_protocols4": ["203.0.113.5 . 50"],
        "listening_protocols6": ["ff02::12 . 112"],
    }
    assert sorted(found) == sorted(SETS)
