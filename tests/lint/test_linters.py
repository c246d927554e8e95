"""The linters have nothing to say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import ROOT
from tests.unit.test_tree import tracked

BIN = Path(sys.executable).parent


def silent(*argv: str | Path) -> None:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_check() -> None:
    silent(BIN / "ruff", "check", ".")


def test_ruff_format() -> None:
    silent(BIN / "ruff", "format", "--check", ".")


def test_mypy() -> None:
    silent(BIN / "mypy")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck() -> None:
    scripts = [
        path for path in tracked() if path.read_bytes()[:32].startswith((b"#!/bin/sh", b"#!/bin/bash"))
    ]
    assert len(scripts) >= 2
    silent("shellcheck", *scripts)
