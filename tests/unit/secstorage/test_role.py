"""Secondary storage as a role: what a document means, and what is wrong with one."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance import roles
from appliance.model import MASK, RefusedError
from appliance.rendering import pieces
from appliance.resources import File, Ruleset, Unit
from appliance.roles import resources
from secstorage import mounts
from secstorage.document import SecstorageDocument
from secstorage.storage_server import settings
from tests.examples import any_document, example


def changed(**sections: Any) -> dict[str, Any]:
    return {**example("secstorage"), **sections}


def problems(**sections: Any) -> list[tuple[str, str]]:
    try:
        roles.read("secstorage", changed(**sections))
    except RefusedError as error:
        return [(each.pointer, each.detail) for each in error.problems]
    return []


def test_units_of_the_example() -> None:
    units = {item.name for item in resources(any_document("secstorage")) if isinstance(item, Unit)}
    assert units == {"sysvm-storage.service"} | {
        f"sysvm-store@{name}.service" for name in ("images", "old", "disk")
    }


def test_without_stores_nothing_runs() -> None:
    document = roles.read("secstorage", changed(stores={}))
    assert not [item for item in resources(document) if isinstance(item, Unit)]
    assert [item for item in resources(document) if isinstance(item, Ruleset)]


def test_the_daemon_reads_what_is_written(tmp_path: Path) -> None:
    document = any_document("secstorage")
    [config] = [item for item in resources(document) if isinstance(item, File) and "config" in item.path]
    assert config.secret and config.mode == 0o640
    (tmp_path / "config.json").write_text(config.content)
    found = settings.read(tmp_path / "config.json")
    assert found.stores["local"].path == Path("/var/lib/sysvm/stores/local")
    assert found.stores["old"].mounted and found.stores["old"].state == "draining"
    assert found.web.proxy is not None and found.web.proxy.login is not None
    assert found.limits.jobs_at_once == 8


def test_no_secret_is_shown() -> None:
    document = any_document("secstorage")
    assert isinstance(document, SecstorageDocument)
    assert "only an example" not in "".join(pieces(resources(document))) + repr(document)
    shown = json.dumps(document.model_dump(mode="json", exclude_unset=True))
    assert "only an example" not in shown and MASK in shown


@pytest.mark.parametrize("version", ["3", "4.0", "4.1", "4.2"])
def test_nobody_hangs_on_an_nfs_server(version: str) -> None:
    stores = {"n": {"kind": "nfs", "server": "2001:db8::1", "export": "/e", "version": version}}
    document = roles.read("secstorage", changed(stores=stores))
    assert isinstance(document, SecstorageDocument)
    store = document.stores["n"]
    assert store.kind == "nfs"
    wanted = mounts.settings("n", store)
    assert wanted["source"] == "[2001:db8::1]:/e"
    options = wanted["options"]
    assert isinstance(options, list)
    assert {"soft", "timeo=100", "retrans=2", f"vers={version}", "proto=tcp6", "nosuid"} <= set(options)
    assert ("nolock" in options) == (version == "3")


@pytest.mark.parametrize(
    ("sections", "place"),
    [
        ({"stores": {"a": {"kind": "nfs", "server": "10.0.0.1", "export": "/a"},
                     "b": {"kind": "nfs", "server": "10.0.0.1", "export": "/a/"}}}, "/stores/b/export"),
        ({"stores": {"a": {"kind": "nfs", "server": "10.0.0.1", "export": "/a/../b"}}}, "/stores/a/export"),
        ({"stores": {"a": {"kind": "nfs", "server": "10.0.0.1", "export": "/a -o x"}}}, "/stores/a/export"),
        ({"stores": {"../x": {"kind": "local"}}}, "/stores/..~1x"),
        ({"sources": {"proxy": {"host": "p.example", "port": 1, "credential": "c"}}},
         "/sources/proxy/credential"),
        ({"interfaces": {"guest0": {"mac": "02:00:00:00:00:01"}}}, "/interfaces/guest0"),
        ({"interfaces": {"public0": {"mac": "02:00:00:00:00:01", "gateway": "10.0.0.1"}}},
         "/interfaces/public0/gateway"),
    ],
)  # fmt: skip
def test_problems(sections: dict[str, Any], place: str) -> None:
    found = problems(**sections)
    assert place in [pointer for pointer, _ in found], found
