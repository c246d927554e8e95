"""The package layer: Debian's packages, nothing of ours."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from images.digest import of_text
from images.layer import Fill
from images.recipe import SUITE

# Documents and translations are half of the files of a small tree, and nobody reads them there.
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
# Who ships an image ships these with it.
LICENSES = "/usr/share/doc/*/copyright"


# What is `$1` in a hook of mmdebstrap is the tree; apt has checked what it downloads.
_EXTRACT = (
    'cd "$(mktemp -d)" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -qq download {names}'
    ' && for each in *.deb; do dpkg-deb -x "$each" "$1" && rm "$each"; done && rmdir "$PWD"'
)


def options(
    *, variant: str = "minbase", excluded: Sequence[str] = (), extracted: Sequence[str] = ()
) -> list[str]:
    """`extracted`: packages of which only the files are wanted, and nothing they depend on."""
    hooks = [f"--customize-hook={_EXTRACT.format(names=' '.join(extracted))}"] if extracted else []
    paths = [*(f"path-exclude={glob}" for glob in (*EXCLUDED, *excluded)), f"path-include={LICENSES}"]
    return [
        "--mode=root",
        f"--variant={variant}",
        "--quiet",
        *(f"--dpkgopt={path}" for path in paths),
        *hooks,
    ]


def key(packages: Sequence[str], *, excluded: Sequence[str] = (), extracted: Sequence[str] = ()) -> str:
    """What the package layer of these packages is called by."""
    return of_text(SUITE, *options(excluded=excluded, extracted=extracted), *packages)


def fill(packages: Sequence[str], *, excluded: Sequence[str] = (), extracted: Sequence[str] = ()) -> Fill:
    def install(tree: Path) -> None:
        bootstrap(tree, packages, options=options(excluded=excluded, extracted=extracted))
        # Empty: each machine gets its own at boot (machine-id(5)), and it is no "first boot".
        (tree / "etc/machine-id").write_text("")
        # The build machine's name and resolvers, which mmdebstrap copied in.
        for copied in ("etc/hostname", "etc/resolv.conf"):
            (tree / copied).unlink(missing_ok=True)

    return install


def bootstrap(tree: Path, packages: Sequence[str], *, options: Sequence[str]) -> None:
    """Make a tree of Debian packages. Raises RuntimeError with mmdebstrap's own words."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    # In mount and PID namespaces that end with us, so that a build which is killed leaves neither
    # processes nor mounts in the tree that the next build must remove.
    # fmt: off
    contained = [
        "setpriv", "--pdeathsig", "KILL",
        "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
    ]
    # fmt: on
    # No part of what comes out, but of what is said when nothing does.
    words = ["--verbose"]
    made = subprocess.run(
        [*contained, "mmdebstrap", *options, *words, f"--include={','.join(packages)}", SUITE, tree],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Without the locks that others of our processes hold on to: mmdebstrap tells apt to write to a file
        # by its number, by way of a shell that knows no numbers of two digits.
        close_fds=True,
    )
    if made.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed with status {made.returncode}:\n{made.stderr[-8000:]}")
