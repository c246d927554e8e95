"""What elements had counted goes on in those that take their place."""

from appliance.engine.elements import Count, Moved, counts, element, inherited

KINDS = {
    "ports": ("in", ("port", "far")),
    "crowd": ("in", ("far", "port")),
    "other": ("other", ("port", "far")),
}
FIVE = Count(5, 500)


def begun(gone: Moved, come: Moved) -> dict[str, Count]:
    known = {("ports", key): FIVE for key, _ in gone.get("ports", ())}
    return {f"{name} {key}": count for (name, key), count in inherited(known, gone, come, KINDS).items()}


def test_one_that_is_cut_or_whole_again() -> None:
    whole: Moved = {"ports": [("10-30 . 10.0.0.0/8", "accept")]}
    cut: Moved = {"ports": [("10-14 . 10.0.0.0/8", "accept"), ("15-30 . 10.0.0.0/8", "accept")]}
    assert begun(whole, cut) == {"ports 10-14 . 10.0.0.0/8": FIVE}
    assert begun(cut, whole) == {"ports 10-30 . 10.0.0.0/8": Count(10, 1000)}


def test_one_that_moves_to_another_set() -> None:
    gone: Moved = {"ports": [("80 . 10.0.0.1", None)]}
    assert begun(gone, {"crowd": [("10.0.0.2 . 80", None), ("10.0.0.1 . 80", None)]}) == {
        "crowd 10.0.0.1 . 80": FIVE
    }
    assert begun(gone, {"other": [("80 . 10.0.0.1", None)]}) == {}
    assert begun(gone, {"unknown": [("80 . 10.0.0.1", None)]}) == {}


def test_what_is_about_something_else_begins_anew() -> None:
    gone: Moved = {"ports": [("10-30 . 10.0.0.0/8", "accept")]}
    assert begun(gone, {"ports": [("20-40 . 10.0.0.0/8", "accept")]}) == {}
    assert begun(gone, {"ports": [("10-30 . 10.0.0.0/8", "drop")]}) == {}
    assert begun(gone, {}) == {}


def test_as_the_kernel_lists_them() -> None:
    listed = [
        {"elem": {"val": {"concat": [{"range": [81, 90]}, 6, {"prefix": {"addr": "10.0.0.0", "len": 8}}]},
                  "counter": {"packets": 2, "bytes": 80}}},
        {"goto": {"target": "logged/ingress/web"}},
    ]  # fmt: skip
    assert element(listed) == ("81-90 . 6 . 10.0.0.0/8", "goto logged/ingress/web")
    listing = [{"map": {"name": "m", "stmt": [{"counter": None}], "elem": [listed]}}, {"chain": {}}]
    assert counts(listing) == {("m", "81-90 . 6 . 10.0.0.0/8"): Count(2, 80)}
