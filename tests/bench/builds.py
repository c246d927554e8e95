"""How long the router's image takes to build: from nothing, and once more after a change of our code."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from os import environ
from pathlib import Path

from images.digest import IGNORED
from images.tree import SOURCE
from tests.bench.benchmark import Say, table

TITLE = "Images: building them"
_CHANGED = "appliance/agent/api.py"
_LONGEST = 6
"""Steps shown."""


def run(say: Say) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as place:
        checkout, cache = Path(place) / "checkout", Path(place) / "cache"
        ignored = shutil.ignore_patterns(*IGNORED, ".git", ".venv", "dist")
        shutil.copytree(SOURCE, checkout, ignore=ignored, symlinks=True)
        taken = {}
        say("from nothing")
        taken["from nothing: an empty cache"] = build(checkout, cache)
        say("after a change")
        changed = checkout / _CHANGED
        changed.write_text(f"{changed.read_text()}\n# Another digest.\n")
        taken[f"after a change of `{_CHANGED}`"] = build(checkout, cache)
    rows = [
        [what, f"{seconds:.0f}", ", ".join(f"{step} {took:.0f}" for step, took in steps[:_LONGEST])]
        for what, (seconds, steps) in taken.items()
    ]
    text = (
        "`make image-router`, all seven forms. From nothing, packages and libraries come from the network, "
        "as quick as that is. Steps of disks and of containers run side by side."
    )
    return "\n\n".join([text, table(["", "s", "its longest steps, s"], rows)])


def build(checkout: Path, cache: Path) -> tuple[float, list[tuple[str, float]]]:
    """Seconds, and the seconds of its steps, the longest first."""
    out = checkout / "dist"
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "images", "images", "router", "--out", out],
        cwd=checkout,
        env={**environ, "SYSVM_CACHE": str(cache), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = time.monotonic() - started
    if ran.returncode != 0:
        said = (out / "router.log").read_text()[-4000:]
        raise RuntimeError(f"Building the image failed:\n{ran.stderr[-2000:]}\n{said}")
    steps = re.findall(r"^router: (.+) ([0-9.]+) s$", ran.stderr, flags=re.MULTILINE)
    return seconds, sorted(((step, float(took)) for step, took in steps), key=lambda step: -step[1])
