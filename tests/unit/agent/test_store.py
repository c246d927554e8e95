"""The document that survives: whole, or with the patches that were acknowledged, and nothing else."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.agent.store import _MOST_PATCHES, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.write({"generation": 1, "keep": {"a": 1}})
    return store


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: writes get short, and then fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_empty(tmp_path: Path) -> None:
    assert Store(tmp_path / "new").load() is None


def test_a_document_and_its_patches(store: Store, tmp_path: Path) -> None:
    store.append({"generation": 2, "keep": {"b": 2}})
    store.append({"generation": 3, "keep": {"a": None}})
    assert Store(tmp_path).load() == {"generation": 3, "keep": {"b": 2}}
    store.write({"generation": 4})
    assert Store(tmp_path).load() == {"generation": 4}
    assert not (tmp_path / "patches.jsonl").exists()


def test_a_candidate_is_nothing_until_it_is_kept(store: Store, tmp_path: Path) -> None:
    store.prepare({"generation": 2})
    assert Store(tmp_path).load() == {"generation": 1, "keep": {"a": 1}}
    store.discard()
    assert not (tmp_path / "document.candidate").exists()
    store.discard()
    store.prepare({"generation": 3})
    store.commit()
    assert Store(tmp_path).load() == {"generation": 3}


def test_patches_go_with_their_document(store: Store, tmp_path: Path) -> None:
    """A crash between the document's replacement and the journal's removal."""
    store.append({"generation": 2})
    journal = (tmp_path / "patches.jsonl").read_bytes()
    store.write({"generation": 5})
    (tmp_path / "patches.jsonl").write_bytes(journal)
    again = Store(tmp_path)
    assert again.load() == {"generation": 5}
    again.append({"generation": 6})
    assert Store(tmp_path).load() == {"generation": 6}


@pytest.mark.parametrize("lost", [1, 2, 10, 30])
def test_a_torn_line_costs_itself_alone(store: Store, tmp_path: Path, lost: int) -> None:
    store.append({"generation": 2})
    whole = (tmp_path / "patches.jsonl").read_bytes()
    store.append({"generation": 3})
    torn = (tmp_path / "patches.jsonl").read_bytes()[:-lost]
    (tmp_path / "patches.jsonl").write_bytes(torn)
    again = Store(tmp_path)
    document = again.load()
    assert document is not None and document["generation"] == 2
    assert (tmp_path / "patches.jsonl").read_bytes() == whole
    again.append({"generation": 4})
    kept = Store(tmp_path).load()
    assert kept is not None and kept["generation"] == 4, "what came after it is not lost with it"


def test_a_patch_that_finds_no_room_is_not_kept(store: Store, tmp_path: Path) -> None:
    store.append({"generation": 2})
    size = (tmp_path / "patches.jsonl").stat().st_size
    for room in (0, 1, 20):
        with files_of_at_most(size + room), pytest.raises(OSError):
            store.append({"generation": 3, "text": "x" * 100})
        assert (tmp_path / "patches.jsonl").stat().st_size == size
    store.append({"generation": 4})
    document = Store(tmp_path).load()
    assert document is not None and document["generation"] == 4


def test_a_document_that_finds_no_room_is_not_kept(store: Store, tmp_path: Path) -> None:
    with files_of_at_most(10), pytest.raises(OSError):
        store.write({"generation": 2})
    assert {path.name for path in tmp_path.iterdir()} == {"document.json"}
    assert Store(tmp_path).load() == {"generation": 1, "keep": {"a": 1}}


def test_a_long_journal_is_folded(store: Store, tmp_path: Path) -> None:
    for number in range(_MOST_PATCHES):
        store.append({"generation": 2 + number})
    store.compact()
    assert (tmp_path / "patches.jsonl").exists()
    store.append({"generation": 1000})
    store.compact()
    assert not (tmp_path / "patches.jsonl").exists()
    assert json.loads((tmp_path / "document.json").read_bytes())["document"]["generation"] == 1000
    store.append({"generation": 1001})
    document = Store(tmp_path).load()
    assert document is not None and document["generation"] == 1001


def test_nobody_else_reads_it(store: Store, tmp_path: Path) -> None:
    store.append({"generation": 2})
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
