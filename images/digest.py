"""Digests of what a layer is made of: equal digests, equal layer."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

# What Python and editors leave beside the sources is not part of them.
IGNORED = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


def of_text(*texts: str) -> str:
    """A digest of the texts, in order; (`"ab", "c"`) and (`"a", "bc"`) differ."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()[:16]


def of_files(paths: Iterable[Path]) -> str:
    """A digest of the files' contents, in order."""
    return of_text(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths))


def of_trees(trees: Iterable[Path], *, ignored: Callable[[Path], bool] = lambda path: False) -> str:
    """A digest of the trees' paths, contents, link targets and execute bits (all that git keeps)."""
    digest = hashlib.sha256()
    for tree in trees:
        for path in files(tree):
            if ignored(path):
                continue
            digest.update(f"{path.relative_to(tree.parent)}\0".encode())
            if path.is_symlink():
                digest.update(f"l{path.readlink()}".encode())
            else:
                digest.update(b"x" if executable(path) else b"f")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def files(tree: Path) -> Iterator[Path]:
    """The files and symbolic links below `tree`, in a fixed order, caches left out."""
    for directory, names, leaves in os.walk(tree):
        # A link to a directory is among the directories; os.walk does not follow it.
        links = [name for name in names if (Path(directory) / name).is_symlink()]
        names[:] = sorted(set(names) - IGNORED - set(links))
        for name in sorted([*leaves, *links]):
            if not name.endswith(".pyc"):
                yield Path(directory) / name


def executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)
