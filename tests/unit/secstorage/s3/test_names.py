"""Keys as paths, there and back, whatever the key."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secstorage.s3.store import names
from secstorage.s3.store.walk import walk

# Every plane, and what has a meaning to file systems or to us.
CHARACTERS = st.one_of(
    st.sampled_from("/./..%\0a-b~"),
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("\U000e0001\U0010ffff"),
)
KEYS = st.text(CHARACTERS, min_size=1, max_size=40).filter(lambda key: len(key.encode()) <= names.KEY_BYTES)


def stored(top: Path, key: str) -> None:
    """As the store does for a key that nothing is in the way of."""
    path = os.fsencode(top) + b"/" + names.path(key)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb"):
        pass


@given(KEYS)
@example("..")
@example("../../etc/passwd")
@example("a/../b")
@example("a//b/")
@example("\0")
@example(".s3/bucket.json")
@example("%2E%2E/%empty")
@example("x" * 1024)
@example("é" * 512)
@example("%" * 1024)
def test_a_path_stays_inside_and_comes_back_as_the_key(key: str) -> None:
    parts = names.path(key).split(b"/")
    assert not {b"", b".", b"..", names.OWN} & set(parts)
    assert all(len(part) <= 250 and b"\0" not in part for part in parts)
    components = b"/".join(parts).replace(names.CONTINUED + b"/", b"").split(b"/")
    assert "/".join(str(names.decode(part)) for part in components) == key


@settings(max_examples=60)
@given(st.sets(KEYS, max_size=6))
def test_a_walk_finds_all_keys_in_the_order_of_their_bytes(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str]
) -> None:
    # A file can't be a directory: what happens then is the store's, not the walk's.
    keys = {key for key in keys if not any(other.startswith(key + "/") for other in keys)}
    top = tmp_path_factory.mktemp("walk")
    for key in keys:
        stored(top, key)
    assert [found.key for found in walk(os.fsencode(top))] == sorted(keys, key=str.encode)


def test_long_names_are_in_order_among_others(tmp_path: Path) -> None:
    piece = "p" * 240
    keys = [piece, f"{piece}-x", f"{piece}/a", f"{piece}a", f"{piece}{piece}z/b"]
    for key in (keys[1], keys[2], keys[3], keys[4]):
        stored(tmp_path, key)
    (tmp_path / f"{piece}%").touch()
    assert [found.key for found in walk(os.fsencode(tmp_path))] == sorted(keys)


def test_what_no_key_can_be_is_passed_over(tmp_path: Path) -> None:
    for name in (b"100%", b"\xff", b".nfs0001", b".s3x"):
        with open(os.fsencode(tmp_path) + b"/" + name, "xb"):
            pass
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "good").touch()
    (tmp_path / "empty").mkdir()
    # "100%" is how the object "100" would be called if "100" were a directory, too.
    assert [found.key for found in walk(os.fsencode(tmp_path))] == ["100", "good"]


def test_a_delimiter_reads_no_further_than_needed(tmp_path: Path) -> None:
    for key in ("a/1", "a/2", "a-", "b/c/d", "b/x", "z"):
        stored(tmp_path, key)
    (tmp_path / "hollow" / "deeper").mkdir(parents=True)
    top = os.fsencode(tmp_path)
    assert [found.key for found in walk(top, delimiter="/")] == ["a-", "a/", "b/", "z"]
    assert [found.key for found in walk(top, delimiter="/", prefix="b/")] == ["b/c/", "b/x"]
    assert [found.key for found in walk(top, delimiter="/", prefix="b")] == ["b/"]
    assert [found.key for found in walk(top, delimiter="/", after="a/")] == ["b/", "z"]
    assert [found.key for found in walk(top, after="a/1")] == ["a/2", "b/c/d", "b/x", "z"]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("abc", True),
        ("a.b-c9", True),
        ("ab", False),
        ("Abc", False),
        ("a..b", False),
        ("-ab", False),
        ("192.168.1.1", False),
        ("a" * 63, True),
        ("a" * 64, False),
        (".s3", False),
        ("a/b", False),
        ("..", False),
        ("abc\n", False),
        ("", False),
    ],
)
def test_bucket_names(name: str, right: bool) -> None:
    assert names.is_bucket_name(name) is right
