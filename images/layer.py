"""Layers: directory trees in a cache, each made once under a name that says what it is made of.

A layer is made as `.NAME.partial` and renamed when it is whole, so that nobody sees half a layer; the
lock `.NAME.lock` keeps two builders of one layer apart, and a builder that was killed leaves a partial
tree which the next one removes.
"""

import fcntl
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from images.digest import executable, files

Progress = Callable[[str], None]
Fill = Callable[[Path], None]


def layer(cache: Path, name: str, fill: Fill) -> Path:
    """The layer `name`, made by `fill(directory)` if the cache doesn't have it.

    `fill` gets the path of a directory that doesn't exist yet. Raises what `fill` raises.
    """
    final = cache / name
    if final.is_dir():
        used(final)
        return final
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with locked(cache / f".{name}.lock"):
        if final.is_dir():
            return final
        partial = cache / f".{name}.partial"
        remove(partial)
        try:
            fill(partial)
            partial.rename(final)
        finally:
            if partial.exists():
                remove(partial)
    return final


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting for it."""
    with path.open("w") as lock:
        # Children get the lock too: what a killed builder left running still writes to the partial tree.
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def used(layer: Path) -> None:
    """Note that a layer is in use: by its change time, which nothing else reads."""
    layer.chmod(stat.S_IMODE(layer.stat().st_mode))


def linked(source: Path, target: Path) -> None:
    """Make `target` a copy of the tree `source` whose files are hard links.

    So it takes no space and a fraction of a second; who changes a file of the copy must replace it.
    """
    subprocess.run(["cp", "-al", "--", source, target], check=True)


def remove(tree: Path) -> None:
    """Remove a tree that may be there. Never follows it into something mounted."""
    if tree.is_dir():
        subprocess.run(["rm", "-rf", "--one-file-system", "--", tree], check=True)
    else:
        tree.unlink(missing_ok=True)


def lay(source: Path, target: Path, *, ignored: Callable[[Path], bool] = lambda path: False) -> None:
    """Lay the files of `source` over the tree `target`, replacing what is there.

    Owner and modes don't follow the source: a checkout may belong to anybody, under any umask.
    """
    for path in files(source):
        if ignored(path):
            continue
        place(path, target / path.relative_to(source))


def place(path: Path, copy: Path) -> None:
    """Put a copy of a file in place of whatever is there, in directories made where they are missing."""
    for parent in reversed(copy.parents):
        directory(parent)
    copy.unlink(missing_ok=True)
    if path.is_symlink():
        copy.symlink_to(path.readlink())
    else:
        shutil.copyfile(path, copy)
        copy.chmod(0o755 if executable(path) else 0o644)


def directory(path: Path) -> None:
    """Make a directory that may be there, under any umask."""
    if not path.is_dir():
        path.mkdir()
        path.chmod(0o755)
