"""The library layer: the package layer with our locked Python libraries in /usr/lib/sysvm, compiled."""

import shutil
import subprocess
import sys
from pathlib import Path

from images.digest import of_text
from images.layer import Fill, linked

LOCK = Path(__file__).parents[1] / "requirements" / "appliance.txt"
PLACE = Path("usr/lib/sysvm")
PYTHON = "3.13"
# What wheels for Debian 13 on x86-64 may be tagged; pip takes a named platform literally.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def key(*, packages: str) -> str:
    """What the library layer on the package layer `packages` is called by. Raises RuntimeError where there
    is no checkout."""
    if not LOCK.exists():
        raise RuntimeError(
            f"Trees are built from a checkout of the project, and there is no {LOCK}: this is an installed "
            "package."
        )
    return of_text(packages, LOCK.read_text(), PYTHON, *PLATFORMS, "without scripts")


def fill(*, packages: Path) -> Fill:
    def install(tree: Path) -> None:
        linked(packages, tree)
        # fmt: off
        installed = subprocess.run(
            [
                sys.executable, "-m", "pip", "install",
                "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--no-deps",
                "--only-binary=:all:", "--require-hashes", "--requirement", LOCK,
                "--implementation", "cp", "--python-version", PYTHON,
                *(word for platform in PLATFORMS for word in ("--platform", platform)),
                "--target", tree / PLACE,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            umask=0o022,
        )
        # fmt: on
        if installed.returncode != 0:
            raise RuntimeError(f"pip failed with status {installed.returncode}:\n{installed.stdout[-4000:]}")
        drop_scripts(tree / PLACE)
        compile_python(tree)

    return install


def drop_scripts(place: Path) -> None:
    """Nobody calls the libraries' commands in an appliance, and they begin with the path of the Python that
    installed them: a build elsewhere would give other bytes."""
    shutil.rmtree(place / "bin", ignore_errors=True)
    for record in place.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("bin/", "../../bin/"))]
        if len(kept) != len(lines):
            record.write_text("".join(kept))


def compile_python(tree: Path) -> None:
    """Compile what is new below /usr/lib/sysvm with the tree's own Python.

    Unchecked hashes (PEP 552): the tree doesn't change, so an import needn't look at the source.
    """
    # fmt: off
    subprocess.run(
        [
            "chroot", tree, "/usr/bin/python3", "-I", "-m", "compileall", "-q",
            "--invalidation-mode", "unchecked-hash", f"/{PLACE}",
        ],
        check=True, stdin=subprocess.DEVNULL,
    )
    # fmt: on


def compile_templates(tree: Path) -> None:
    """Have the tree's own Python leave its templates compiled."""
    # fmt: off
    subprocess.run(
        [
            "chroot", tree, "/usr/bin/env", f"PYTHONPATH=/{PLACE}", "/usr/bin/python3", "-B", "-c",
            "from appliance import template; template.compile_all()",
        ],
        check=True, stdin=subprocess.DEVNULL,
    )
    # fmt: on
