"""The daemon's configuration: what is refused, and that secrets aren't told."""

import json
from pathlib import Path

import pytest

from appliance.model import RefusedError
from secstorage.s3 import configuration


def written(path: Path, **changes: object) -> Path:
    value = {
        "root": "/srv",
        "credentials": {"AK": {"secret": "hush-hush", "rights": {"a*": "read", "ab": "write"}}},
    }
    path.write_text(json.dumps(value | changes))
    return path


def test_rights_are_the_strongest_that_fits(tmp_path: Path) -> None:
    credential = configuration.read(written(tmp_path / "c")).credentials["AK"]
    assert [credential.rank(name) for name in ("abc", "ab", "b")] == [1, 2, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"credentials": {"AK": {"secret": "hush-hush", "rights": {"*": "all"}}}},
        {"credentials": {"A/K": {"secret": "hush-hush"}}},
        {"credentials": {"AK,x": {"secret": "hush-hush"}}},
        {"credentials": {"AK": {"secret": "hush\nhush"}}},
        {"region": "us east"},
        {"listen": []},
        {"listen": [{"port": 70000}]},
        {"unknown": 1},
        {"limits": {"connections": 0}},
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(RefusedError) as error:
        configuration.read(written(tmp_path / "c", **changes))
    assert "hush" not in str(error.value)


def test_secrets_are_not_in_what_is_printed(tmp_path: Path) -> None:
    assert "hush" not in repr(configuration.read(written(tmp_path / "c")))
