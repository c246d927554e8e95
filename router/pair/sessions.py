"""What one router's daemons learn from outside and the other's don't: which servers are well, where peers
of WireGuard are. The backup keeps what the primary says, and goes on with it once it is the primary."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from router.pair import servers, tunnels

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0


class Sessions:
    def __init__(self) -> None:
        self._told: Mapping[str, Any] = {}
        self._at = 0.0
        self._endpoints: tunnels.Endpoints = {}

    def word(self) -> Mapping[str, Any]:
        """What a primary tells."""
        if time.monotonic() - self._at > _LOOK_SECONDS:
            self._at = time.monotonic()
            _trying(self._look)
        return self._told

    def _look(self) -> None:
        # Another dictionary each time: a thread that tells the last one isn't disturbed.
        self._told = {**self._told, "down": servers.down()}
        self._told = {**self._told, "endpoints": tunnels.endpoints()}

    def learn(self, said: Mapping[str, Any]) -> None:
        """What the primary tells, as soon as it is heard: it may be the last."""
        self._endpoints = said.get("endpoints", {})

    def adopt(self, said: Mapping[str, Any]) -> None:
        """As the backup, be as the primary is."""
        _trying(lambda: servers.adopt(said.get("down", [])))

    def go_on(self) -> None:
        """As the new primary."""
        _trying(self._begin)
        _trying(servers.check_again)

    def _begin(self) -> None:
        if count := tunnels.begin(self._endpoints):
            log.info("Began sessions with %d peers of WireGuard", count)


def _trying(work: Callable[[], object]) -> None:
    """A daemon that doesn't answer now is asked again with the next word."""
    try:
        work()
    except (OSError, ValueError, LookupError) as error:
        log.warning("What sessions the pair has: %r", error)
