"""A stock cloud-init, once with each datasource."""

import base64
from pathlib import Path
from typing import Any

import pytest
from guest_tree import Booted, boot
from metadata_lab import Lab

pytestmark = pytest.mark.root
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl one@example"
SECOND = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJm two@example"
USER_DATA = base64.b64encode(b"#cloud-config\nruncmd: ['echo it ran > /ran']\n").decode()
UUID = "ec2e1916-9099-7caf-fd21-012345abcdef"


def booted(lab: Lab, directory: Path, *, datasource: str, tokens: str = "optional", uuid: str = "",
           config: dict[str, Any] | None = None, **fields: Any) -> Booted:  # fmt: skip
    lab.network("guest0", tokens=tokens)
    lab.start()
    lab.add("guest0", 10, **{"user_data": USER_DATA, "public_keys": [KEY, SECOND]} | fields)
    guest = lab.guest("guest0", 10)
    done = boot(guest, directory / "guest", datasource=datasource, config=config or {}, uuid=uuid)
    assert done.result == {"datasource": done.result["datasource"], "errors": []}, done.log
    assert done.ran == "it ran\n"
    assert KEY in done.keys and SECOND in done.keys
    assert done.hostname == "vm10"
    assert done.metadata["v1"]["instance_id"] == "i-10"  # type: ignore[index]
    return done


def test_cloudstack(lab: Lab, tmp_path: Path) -> None:
    lab.network("guest0")
    path = lab.password("guest0", "10.1.1.10", "correct horse")
    done = booted(lab, tmp_path, datasource="CloudStack")
    assert done.result["datasource"] == "DataSourceCloudStack"
    assert done.shadow.startswith("debian:$"), "the password is set"
    assert not path.exists(), "and acknowledged"
    assert done.metadata["v1"]["availability_zone"] == "zone1"  # type: ignore[index]


def test_ec2_with_tokens_required(lab: Lab, tmp_path: Path) -> None:
    done = booted(lab, tmp_path, datasource="Ec2", tokens="required", uuid=UUID)
    assert str(done.result["datasource"]).startswith("DataSourceEc2")
    assert "X-aws-ec2-metadata-token" in done.log
    assert done.metadata["v1"]["availability_zone"] == "zone1"  # type: ignore[index]
    assert done.metadata["v1"]["region"] == "zone1"  # type: ignore[index]


def test_ec2_without_tokens_or_a_zone(lab: Lab, tmp_path: Path) -> None:
    booted(lab, tmp_path, datasource="Ec2", config={"strict_id": False}, keys={})


@pytest.mark.parametrize("tokens", ["optional", "required"])
def test_openstack(lab: Lab, tmp_path: Path, tokens: str) -> None:
    vendor = base64.b64encode(b"#cloud-config\nwrite_files: [{path: /from-vendor, content: x}]\n").decode()
    done = booted(lab, tmp_path, datasource="OpenStack", tokens=tokens, vendor_data=vendor)
    assert str(done.result["datasource"]).startswith("DataSourceOpenStack")
    assert "/from-vendor" in done.log


@pytest.mark.parametrize("prefix_length", [None, 24])
def test_nocloud(lab: Lab, tmp_path: Path, prefix_length: int | None) -> None:
    done = booted(lab, tmp_path, datasource="NoCloud", config={"seedfrom": "http://10.1.1.1/nocloud/"},
                  prefix_length=prefix_length)  # fmt: skip
    assert "NoCloud" in str(done.result["datasource"])


def test_cloudstack_without_anything_optional(lab: Lab, tmp_path: Path) -> None:
    """No user-data, no keys, no password: an empty answer is an answer, and nothing is waited for."""
    lab.network("guest0")
    lab.start()
    lab.add("guest0", 10, user_data=None, public_keys=[], keys={}, domain=None)
    done = boot(lab.guest("guest0", 10), tmp_path / "guest", datasource="CloudStack", config={})
    assert done.result == {"datasource": "DataSourceCloudStack", "errors": []}
    assert done.hostname == "vm10"
    assert done.shadow.startswith("debian:!")
