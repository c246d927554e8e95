"""What the machine itself may ask, without a certificate: a socket that root alone reaches."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any

from appliance.agent.health import Result

SOCKET = Path("/run/sysvm-agent/health.sock")
"""Not in /run/sysvm: there all is a document's, and what else lies about is taken away."""
_WORKING = ("empty", "converged", "unconfirmed")


def condition(*, generation: int, state: str, detail: str, results: Iterable[Result]) -> dict[str, Any]:
    """Whether all is well, and a sentence for each thing that isn't."""
    wrong = [f"{result.name}: {result.detail}" for result in results if not result.ok]
    if state not in _WORKING:
        wrong.insert(0, f"The state is {state}. {detail}".strip())
    return {"ok": not wrong, "generation": generation, "wrong": wrong}


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
