"""The tree is as it is said to be: tests mirror services, and files say nothing of where they were made."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.examples import ROOT


def tracked() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a git checkout")
    return [path for name in listing.decode().split("\0") if name and (path := ROOT / name).is_file()]


NOUNS = sorted(path.stem for path in (ROOT / "router").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("noun", NOUNS)
def test_every_service_has_its_tests(noun: str) -> None:
    assert (ROOT / "tests" / "unit" / "router" / f"test_{noun}.py").is_file()


def test_no_file_wants_to_be_two() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix == ".py" and (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_files_tell_of_no_registry_and_no_machine() -> None:
    # In pieces, so that this file is not one of those it looks for.
    hosts = ("pypi|files.python" + "hosted", "registry.npm" + "js", "deb.deb" + "ian", "proxy.go" + "lang")
    words = [rf"\b({host})\.(org|io)\b" for host in hosts]
    words.append(r"(?<![\w.])/wo" + r"rk/[a-z]")
    words += ["--extra-" + "index-url", "artifact" + "ory", "devpi[.]"]
    pattern = re.compile("|".join(words))
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if (match := pattern.search(path.read_bytes().decode(errors="replace")))
    ]
    assert not found


def test_no_word_that_says_nothing() -> None:
    names = [path.stem for path in tracked() if path.suffix == ".py"]
    assert not [name for name in names if re.search("ut" + "il|help" + "er|common|mi" + "sc", name)]
