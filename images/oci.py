"""The container image: an OCI layout (opencontainers/image-spec) in a tar, which `docker load` takes too."""

import json
from pathlib import Path
from typing import Any

from images import archive

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


CONTAINER = Path(__file__).parent / "container" / "rootfs"
"""What the tree of a container image has besides: how an engine starts it and asks how it is."""
_OURS = "/usr/lib/sysvm-container"
_SECOND = 1_000_000_000
_APPLIANCE: dict[str, Any] = {
    "Volumes": {"/var/lib/sysvm": {}},
    # Docker's own; other engines ignore it. The agent probes its services as often.
    "Healthcheck": {
        "Test": ["CMD", f"{_OURS}/health"],
        "Interval": 15 * _SECOND,
        "Timeout": 10 * _SECOND,
        "StartPeriod": 60 * _SECOND,
        "StartInterval": 1 * _SECOND,
        "Retries": 3,
    },
}


def write(
    target: Path, *, layer: Path, appliance: bool, name: str, version: str, created: str, epoch: int
) -> None:
    """Write an image of one layer, `layer`, a compressed tar. `created` is RFC 3339."""
    config: dict[str, Any] = {
        "Entrypoint": [f"{_OURS}/init"],
        # How systemd knows that it is in a container, and that it is asked to halt.
        "Env": ["container=oci"],
        "StopSignal": "SIGRTMIN+3",
        "Labels": {
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.version": version,
        },
    }
    if appliance:
        config |= _APPLIANCE
    image = encoded(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{archive.digest_uncompressed(layer)}"]},
            "history": [{"created": created, "created_by": f"{name} {version}"}],
        }
    )
    layer_digest = archive.digest(layer)
    manifest = encoded(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": described(image, _CONFIG),
            "layers": [
                {"mediaType": _LAYER, "digest": f"sha256:{layer_digest}", "size": layer.stat().st_size}
            ],
        }
    )
    tag = f"{name}:{version}"
    names = {"org.opencontainers.image.ref.name": tag}
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [{**described(manifest, _MANIFEST), "annotations": names}],
    }
    # What Docker read before it read OCI layouts; the blobs are the same.
    docker = [
        {
            "Config": f"blobs/sha256/{archive.digest(image)}",
            "RepoTags": [tag],
            "Layers": [f"blobs/sha256/{layer_digest}"],
        }
    ]
    archive.bundle(
        target,
        [
            ("oci-layout", encoded({"imageLayoutVersion": "1.0.0"})),
            ("index.json", encoded(index)),
            ("manifest.json", encoded(docker)),
            (f"blobs/sha256/{archive.digest(image)}", image),
            (f"blobs/sha256/{archive.digest(manifest)}", manifest),
            (f"blobs/sha256/{layer_digest}", layer),
        ],
        epoch=epoch,
    )


def described(blob: bytes, media_type: str) -> dict[str, Any]:
    digest = f"sha256:{archive.digest(blob)}"
    return {"mediaType": media_type, "digest": digest, "size": len(blob)}


def encoded(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
