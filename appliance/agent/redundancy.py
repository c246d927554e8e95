"""An appliance's part in a redundant pair, asked of the process that is there for it: `router.pair`."""

import json
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

SOCKET = Path("/run/sysvm-redundancy/pair.sock")
CONFIGURATION = Path("/run/sysvm/redundancy/pair.json")
"""Of a document with a redundancy section."""
_SECONDS = 15.0
"""A switch-over gives up sooner."""


class RefusedSwitchError(Exception):
    """A switch-over that can't be now; the text says why."""


def status() -> dict[str, Any] | None:
    """What the pair's process says: `state` (primary, backup, fault, unknown), `since`, `changes`, `faults`,
    `peer`, `split_brain`, ...; None of an appliance that is alone."""
    if not CONFIGURATION.exists():
        return None
    try:
        _, answer = _ask("GET", "/status")
    except (OSError, ValueError) as error:
        return {"state": "unknown", "detail": f"The pair's process doesn't answer: {error}"}
    return answer


def switch_over() -> dict[str, Any]:
    """Have the other appliance take over; the state after that. Raises RefusedSwitchError, and OSError where
    the pair's process doesn't answer."""
    if not CONFIGURATION.exists():
        raise RefusedSwitchError("This appliance has no redundancy section")
    code, answer = _ask("POST", "/switch-over")
    if code != HTTPStatus.OK:
        raise RefusedSwitchError(str(answer.get("detail")))
    return answer


def _ask(method: str, path: str) -> tuple[int, dict[str, Any]]:
    # With the first question: an agent that is alone has no use for it.
    import http.client

    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection.sock as asking:
        asking.settimeout(_SECONDS)
        asking.connect(str(SOCKET))
        connection.request(method, path)
        try:
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except http.client.HTTPException as error:
            raise OSError(f"It hung up: {error!r}") from None
