import json
from pathlib import Path

import pytest

from appliance import boot
from appliance.model import RefusedError

GOOD = {
    "role": "router",
    "name": "r1",
    "control": {"mac": "02:00:00:00:00:01", "address": "169.254.3.2/24"},
    "tls": {"ca": "CA", "certificate": "CERTIFICATE", "key": "SECRET"},
}


@pytest.fixture
def credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path / boot.CREDENTIAL


def test_reads_what_was_passed(credential: Path) -> None:
    credential.write_text(json.dumps({**GOOD, "ssh_keys": ["ssh-ed25519 AAAA you@example"]}))
    assert boot.read().ssh_keys == ["ssh-ed25519 AAAA you@example"]


@pytest.mark.parametrize(
    ("damaged", "place"),
    [
        (b"", ""),
        (json.dumps(GOOD).encode()[:-40], ""),
        (json.dumps({**GOOD, "name": "SECRET!"}).encode(), "/name"),
        (json.dumps({**GOOD, "tls": {"key": "SECRET"}}).encode(), "/tls/ca"),
        (json.dumps({**GOOD, "ssh_keys": ['command="sh" ssh-ed25519 AAAA']}).encode(), "/ssh_keys/0"),
        (json.dumps({**GOOD, "ssh_keys": ["ssh-ed25519 AAAA\nssh-rsa SECRET"]}).encode(), "/ssh_keys/0"),
    ],
)
def test_refuses_anything_else_and_never_shows_it(credential: Path, damaged: bytes, place: str) -> None:
    credential.write_bytes(damaged)
    with pytest.raises(RefusedError) as refused:
        boot.read()
    assert place in [problem.pointer for problem in refused.value.problems]
    assert "SECRET" not in str(refused.value)
