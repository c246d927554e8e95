"""What the machine itself may ask, without a certificate: a socket that root alone reaches."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any

from appliance.agent.controller import Controller
from appliance.agent.health import Health

SOCKET = Path("/run/sysvm-agent/health.sock")
"""Not in /run/sysvm: there all is a document's, and what else lies about is taken away."""
_WORKING = ("empty", "converged", "unconfirmed")


def condition(controller: Controller, health: Health) -> dict[str, Any]:
    """Whether all is well, and a sentence for each thing that isn't."""
    wrong = [f"{result.name}: {result.detail}" for result in health.results() if not result.ok]
    if controller.state not in _WORKING:
        wrong.insert(0, f"The state is {controller.state}. {controller.detail}".strip())
    return {"ok": not wrong, "generation": controller.running.generation, "wrong": wrong}


def serve(answer: Callable[[], Mapping[str, Any]], *, path: Path = SOCKET) -> None:
    """Tell whoever connects the answer of that moment, as JSON, as long as the process lasts."""

    class Request(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(json.dumps(answer()).encode())

    path.unlink(missing_ok=True)
    server = ThreadingUnixStreamServer(str(path), Request)
    server.daemon_threads = True
    path.chmod(0o600)
    threading.Thread(target=server.serve_forever, daemon=True).start()
