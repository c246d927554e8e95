"""Which tree answers which path. Pure: a record and a request in, a response out.

EC2 and CloudStack both own `latest`, and mean different things by it: `public-keys` is a directory to
one and a text to the other. Who asks is told apart by where they ask. CloudStack's clients find the
router by DHCP and use the gateway's address; EC2's use 169.254.169.254; and a version that is a date is
EC2's anywhere.
"""

import re
from enum import Enum

from router.metadata_server.cloudstack import cloudstack
from router.metadata_server.ec2 import VERSIONS, ec2
from router.metadata_server.nocloud import nocloud
from router.metadata_server.openstack import openstack
from router.metadata_server.record import Record
from router.metadata_server.request import Request
from router.metadata_server.response import NOT_FOUND, Response, text

TOKEN_PATH = "/latest/api/token"  # noqa: S105
TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105

_EC2_VERSION = re.compile(r"1\.0|[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Door(Enum):
    """The address and port that a request came to."""

    GATEWAY = "gateway"
    LINK_LOCAL = "link-local"
    PASSWORD = "password"  # noqa: S105
    HEALTH = "health"


def dialect(path: str, *, door: Door) -> str:
    """Whose path it is: `ec2`, `cloudstack`, `openstack`, `nocloud`, or `none`."""
    first, slash, rest = path[1:].partition("/")
    if first in ("openstack", "nocloud"):
        return first
    if first == "latest":
        if door is Door.LINK_LOCAL or rest in ("dynamic", "api") or rest.startswith(("dynamic/", "api/")):
            return "ec2"
        return "cloudstack"
    return "ec2" if _EC2_VERSION.fullmatch(first) or not (first or slash) else "none"


def refused(request: Request, *, door: Door) -> Response | None:
    """The answer to a request that nobody may make, whoever asks and whatever there is."""
    if "x-forwarded-for" in request.headers:
        # A proxy that an attacker can talk through adds this header; EC2 answers it 403, too.
        return Response(403)
    # No HEAD for a password: it would count as sent what nobody has seen.
    others = "PUT" if request.path == TOKEN_PATH else "GET, HEAD"
    allowed = "GET" if door is Door.PASSWORD else others
    if request.method not in allowed.split(", "):
        return Response(405, header=("Allow", allowed))
    return None


def respond(
    record: Record, path: str, *, door: Door, network: str, tokens_required: bool, token_valid: bool | None
) -> Response:
    """The answer to GET `path` by the guest of this record. `network` is the CIDR of its network.

    `token_valid` is None without a token. A token that isn't valid is refused even where none is wanted,
    or else a guest would never learn to fetch a new one (EC2 user guide, "Use IMDSv2").
    """
    kind = dialect(path, door=door)
    if kind == "ec2" and (token_valid is False or (tokens_required and token_valid is None)):
        return Response(401)
    match kind:
        case "ec2" if path == "/":
            return text("\n".join(VERSIONS))
        case "ec2":
            return ec2(record, path[1:].partition("/")[2], network=network)
        case "cloudstack":
            return cloudstack(record, path if path != "/latest" else "/latest/")
        case "openstack":
            return openstack(record, path.removeprefix("/openstack"))
        case "nocloud":
            return nocloud(record, path.removeprefix("/nocloud/"))
    return NOT_FOUND
