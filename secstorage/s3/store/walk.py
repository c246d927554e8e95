"""The keys of a directory tree in S3's order, without reading what isn't asked for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from secstorage.s3.store.names import BESIDE, CONTINUED, OWN, VERSIONS, decode


@dataclass(frozen=True, slots=True)
class Found:
    """A key and its file; or, with no path, a prefix that keys have in common."""

    key: str
    path: bytes | None
    """Relative to the top."""


@dataclass(frozen=True, slots=True)
class _Place:
    order: str
    """The component, with a `/` if it is a directory: all that is in it sorts as that does."""
    path: bytes
    directory: bool


def walk(
    top: bytes, *, prefix: str = "", after: str = "", delimiter: str = "", versions: bool = False
) -> Iterator[Found]:
    """All keys that begin with `prefix` and are greater than `after`. With the delimiter `/` a directory
    below the prefix is one `Found` without a path, if any key is in it. `versions`: of the tree of versions,
    where an object is the directory of its versions."""
    return _walk(top, b"", "", prefix, after, delimiter == "/", versions)


def _walk(
    top: bytes, directory: bytes, base: str, prefix: str, after: str, collapse: bool, versions: bool
) -> Iterator[Found]:
    for place in _places(top, directory, versions, root=not base):
        key = base + place.order
        if not place.directory:
            if key > after and key.startswith(prefix):
                yield Found(key, place.path)
            continue
        if key < after and not after.startswith(key):
            continue
        if key.startswith(prefix):
            if collapse and len(key) > len(prefix):
                # One that `after` is in was told before, or would have been.
                if key > after and any(
                    True for _ in _walk(top, place.path, key, prefix, "", False, versions)
                ):
                    yield Found(key, None)
                continue
        elif not prefix.startswith(key):
            continue
        yield from _walk(top, place.path, key, prefix, after, collapse, versions)


def _places(top: bytes, directory: bytes, versions: bool, *, root: bool) -> list[_Place]:
    found: dict[str, _Place] = {}
    _scan(top, directory, b"", versions, found, root=root)
    return [found[order] for order in sorted(found)]


def _scan(
    top: bytes,
    directory: bytes,
    begin: bytes,
    versions: bool,
    found: dict[str, _Place],
    *,
    root: bool = False,
) -> None:
    try:
        entries = os.scandir(b"%s/%s" % (top, directory) if directory else top)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            name = entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            path = b"%s/%s" % (directory, name) if directory else name
            if is_directory:
                if name.endswith(CONTINUED):
                    _scan(top, path, begin + name[:-2], versions, found)
                    continue
                if versions and name.endswith(VERSIONS):
                    is_directory = False
                    name = name[:-2]
                elif root and name == OWN:
                    continue
            elif versions or not entry.is_file(follow_symlinks=False):
                continue
            beside = not is_directory and name.endswith(BESIDE)
            component = decode(begin + (name[:-1] if beside else name))
            if component is None:
                continue
            order = component + "/" if is_directory else component
            # Where both are, what has the plain name is the object.
            if not beside or order not in found:
                found[order] = _Place(order, path, is_directory)
