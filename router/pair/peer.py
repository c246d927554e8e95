"""The other router, over the sync link: each reads from the other what that one says of itself.

A line of JSON whenever something has changed, and once a second. TLS 1.2 with a pre-shared key (RFC 5489,
RFC 7905): whoever has the pair's secret is the other one, and nobody else learns of leases.
"""

import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from router.pair.settings import Settings

log = logging.getLogger(__name__)
PORT = 3781
_CIPHER = "ECDHE-PSK-CHACHA20-POLY1305"
_IDENTITY = "sysvm-pair"
_LOOK_SECONDS, _SAY_SECONDS, _HEARD_SECONDS = 0.2, 1.0, 3.0
_LONGEST = 64 * 2**20
_READERS = threading.BoundedSemaphore(4)


class Peer:
    """`said` is the last that was heard; None once nothing was for 3 s."""

    def __init__(
        self, settings: Callable[[], Settings], on_word: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._settings, self._on_word = settings, on_word
        self._said: Mapping[str, Any] = {}
        self._at = 0.0

    @property
    def said(self) -> Mapping[str, Any] | None:
        return self._said if time.monotonic() - self._at < _HEARD_SECONDS else None

    def listen(self) -> None:
        """Read from the other one, for ever."""
        while True:
            try:
                self._read()
            except (OSError, ValueError) as error:
                log.debug("The other router isn't heard: %s", error)
            time.sleep(_SAY_SECONDS / 2)

    def _read(self) -> None:
        settings = self._settings()
        place = settings.sync
        raw = socket.create_connection((place.peer, PORT), timeout=2.0, source_address=(place.own, 0))
        with _client(settings).wrap_socket(raw) as secure:
            secure.settimeout(_HEARD_SECONDS)
            with secure.makefile("rb") as lines:
                while self._settings() is settings:
                    line = lines.readline(_LONGEST)
                    if not line.endswith(b"\n"):
                        raise ValueError("The line ended early")
                    said = json.loads(line)
                    if not isinstance(said, dict) or said.get("name") != settings.peer:
                        raise ValueError(f"It isn't {settings.peer} that speaks")
                    self._said, self._at = said, time.monotonic()
                    self._on_word(said)

    def speak(self, word: Callable[[], Mapping[str, Any]]) -> None:
        """Let the other one read what `word` says, for ever."""
        while True:
            settings = self._settings()
            try:
                family = socket.AF_INET6 if ":" in settings.sync.own else socket.AF_INET
                with socket.create_server((settings.sync.own, PORT), family=family, backlog=4) as server:
                    server.settimeout(1.0)
                    while self._settings().sync == settings.sync:
                        try:
                            raw, sender = server.accept()
                        except TimeoutError:
                            continue
                        if sender[0] != settings.sync.peer or not _READERS.acquire(blocking=False):
                            raw.close()
                            continue
                        threading.Thread(target=self._say, args=(raw, word), daemon=True).start()
            except OSError as error:
                log.debug("Nobody can be told: %s", error)
                time.sleep(_SAY_SECONDS)

    def _say(self, raw: socket.socket, word: Callable[[], Mapping[str, Any]]) -> None:
        settings = self._settings()
        try:
            raw.settimeout(_HEARD_SECONDS)
            with _server(settings).wrap_socket(raw, server_side=True) as secure:
                last, at = b"", 0.0
                while self._settings() is settings:
                    line = json.dumps(word()).encode() + b"\n"
                    if line != last or time.monotonic() - at > _SAY_SECONDS:
                        secure.sendall(line)
                        last, at = line, time.monotonic()
                    time.sleep(_LOOK_SECONDS)
        except (OSError, ValueError) as error:
            log.debug("The other router doesn't listen: %s", error)
        finally:
            raw.close()
            _READERS.release()


def _client(settings: Settings) -> ssl.SSLContext:
    key = settings.key("shared state")
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.set_psk_client_callback(lambda hint: (_IDENTITY, key))  # type: ignore[attr-defined,unused-ignore]
    return context


def _server(settings: Settings) -> ssl.SSLContext:
    key = settings.key("shared state")
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.set_psk_server_callback(lambda identity: key)  # type: ignore[attr-defined,unused-ignore]
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    # The key vouches for both ends; there are no certificates.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHER)
    return context
