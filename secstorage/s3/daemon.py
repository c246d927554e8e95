"""The process that starts workers, and others in their place when the configuration has changed.

A new configuration is for new workers: the old ones take no more connections, send the answers they have
begun, and end. So a reload cuts nothing off. A configuration that can't be used changes nothing.
"""

import os
import signal
import socket
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path

from appliance.model import RefusedError
from secstorage.s3 import configuration
from secstorage.s3.api.refusal import refuse
from secstorage.s3.api.service import Service
from secstorage.s3.configuration import Configuration, Listen
from secstorage.s3.store.sweep import Sweeper
from secstorage.s3.worker import Listener, Worker

_BACKLOG = 1024
_STOP_SECONDS = 15.0


class Daemon:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._workers: set[int] = set()
        self._old: set[int] = set()
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._wanted: set[str] = set()

    def run(self) -> int:
        """Until SIGTERM. Raises what reading the first configuration raises."""
        signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
        # Waited for, not handled: between two looks nothing is lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        current = configuration.read(self._path)
        self._listen(current)
        self._start(current)
        _notify("READY=1")
        while True:
            number = signal.sigwait(signals)
            if number in (signal.SIGTERM, signal.SIGINT):
                break
            if number == signal.SIGHUP:
                current = self._reload(current)
            self._reap(current)
        _notify("STOPPING=1")
        self._stop()
        return 0

    def _reload(self, current: Configuration) -> Configuration:
        _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            wanted = configuration.read(self._path)
            contexts = [_context(each) for each in wanted.listen]
            del contexts
            self._listen(wanted)
        except (OSError, ValueError, RefusedError) as error:
            print(f"{self._path}: {error}; what was good before stays", file=sys.stderr, flush=True)
            wanted = current
        else:
            self._old |= self._workers
            self._workers = set()
            self._start(wanted)
            for worker in self._old:
                _kill(worker, signal.SIGQUIT)
        _notify("READY=1")
        return wanted

    def _listen(self, wanted: Configuration) -> None:
        """Open what isn't open yet, then close what isn't wanted any more."""
        keys = {(each.address, each.port) for each in wanted.listen}
        opened = {}
        try:
            for address, port in keys - self._sockets.keys():
                opened[address, port] = _socket(address, port)
        except OSError:
            for sock in opened.values():
                sock.close()
            raise
        for key in self._sockets.keys() - keys:
            self._sockets.pop(key).close()
        self._sockets |= opened

    def _start(self, wanted: Configuration) -> None:
        for number in range(wanted.limits.workers or os.cpu_count() or 1):
            self._fork(wanted, sweeps=number == 0)

    def _fork(self, wanted: Configuration, *, sweeps: bool) -> None:
        sys.stderr.flush()
        worker = os.fork()
        if worker:
            self._workers.add(worker)
            return
        code = 1
        try:
            listeners = [
                Listener(self._sockets[each.address, each.port], _context(each)) for each in wanted.listen
            ]
            service = Service(wanted)
            if sweeps and wanted.sweep_seconds:
                Sweeper(service.store, wanted.sweep_seconds).start()
            limits = wanted.limits
            Worker(
                listeners,
                service.answer,
                refuse,
                connections=limits.connections,
                threads=limits.requests,
                access_log=wanted.access_log,
            ).run()
            code = 0
        except BaseException as error:
            print(f"worker: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)

    def _reap(self, current: Configuration) -> None:
        while True:
            try:
                worker, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not worker:
                return
            self._old.discard(worker)
            if worker in self._workers:
                self._workers.discard(worker)
                print(
                    f"worker {worker} ended with {status}; another takes its place",
                    file=sys.stderr,
                    flush=True,
                )
                time.sleep(0.2)
                self._fork(current, sweeps=True)

    def _stop(self) -> None:
        left = self._workers | self._old
        for worker in left:
            _kill(worker, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while left and time.monotonic() < end:
            with suppress(ChildProcessError):
                for worker in list(left):
                    if os.waitpid(worker, os.WNOHANG)[0]:
                        left.discard(worker)
            time.sleep(0.02)
        for worker in left:
            _kill(worker, signal.SIGKILL)


def _kill(worker: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker, number)


def _socket(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"can't listen on {address} port {port}: {error.strerror}") from error
    return sock


def _context(listen: Listen) -> ssl.SSLContext | None:
    if listen.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(listen.certificate, listen.key)
    return context


def _notify(state: str) -> None:
    """Tell systemd, if it started us (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
            suppress(OSError),
        ):
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            sock.sendall(state.encode())
