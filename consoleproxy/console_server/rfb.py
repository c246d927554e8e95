"""The beginning of RFB (RFC 6143, sections 7.1 and 7.2; VeNCrypt).

With a console's server the proxy is the client, and proves itself. With a viewer it is the server: a viewer
has proved itself by its session, and is offered security type None.
"""

import ssl
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from consoleproxy.console_server.stream import Exchange

VERSION = b"RFB 003.008\n"
NONE, VNC_AUTH, VENCRYPT = 1, 2, 19
_X509_NONE, _X509_VNC, _X509_PLAIN = 260, 261, 262
_MOST_REASON = 4096


class RfbError(Exception):
    """A server that isn't one, wants what we don't have, or refuses us. Its text has no secret in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    user: str = ""
    password: str | None = None
    tls: ssl.SSLContext | None = None
    """With it, nothing but TLS will do."""
    tls_name: str = ""
    """The name in the server's certificate."""


def challenge_answer(challenge: bytes, password: str) -> bytes:
    """VNC authentication's: DES with the password's first eight bytes, each mirrored."""
    key = password.encode("latin-1", "replace")[:8].ljust(8, b"\0")
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    encryptor = Cipher(TripleDES(mirrored * 3), modes.ECB()).encryptor()  # noqa: S305  (the protocol's)
    return encryptor.update(challenge) + encryptor.finalize()


async def open_server(server: Exchange, credentials: Credentials) -> None:
    """The server's handshake, up to and with its SecurityResult. Raises RfbError, ClosedError, OSError and
    ssl.SSLError."""
    minor = await _version(server)
    if minor >= 7:
        count = (await server.read(1))[0]
        if count == 0:
            raise RfbError(f"the server refuses: {await _reason(server)}")
        kind = _chosen(await server.read(count), credentials)
        server.write(bytes((kind,)))
    else:
        kind = int.from_bytes(await server.read(4))
        if kind == 0:
            raise RfbError(f"the server refuses: {await _reason(server)}")
        _chosen(bytes((kind & 0xFF,)), credentials)
    if kind == VENCRYPT:
        kind = await _vencrypt(server, credentials)
    if kind == VNC_AUTH:
        if credentials.password is None:
            raise RfbError("the server wants a password, and the document has none")
        server.write(challenge_answer(await server.read(16), credentials.password))
    if kind == NONE and minor < 8:
        return
    if await server.read(4) != bytes(4):
        reason = await _reason(server) if minor >= 8 else "no reason"
        raise RfbError(f"the server refuses our credentials: {reason}")


async def _version(server: Exchange) -> int:
    """The minor version that is spoken."""
    line = await server.read(12)
    if (
        line[:4] != b"RFB "
        or line[7:8] != b"."
        or line[11:] != b"\n"
        or not (line[4:7] + line[8:11]).isdigit()
    ):
        raise RfbError("the server doesn't speak RFB")
    major, minor = int(line[4:7]), int(line[8:11])
    if major < 3 or (major == 3 and minor < 3):
        raise RfbError("the server's RFB is older than any")
    # 3.5 was never a version; 3.889 and 4.x are others' names for 3.8.
    spoken = 8 if major > 3 or minor >= 8 else 7 if minor == 7 else 3
    server.write(b"RFB 003.%03d\n" % spoken)
    return spoken


def _chosen(offered: bytes, credentials: Credentials) -> int:
    if credentials.tls is not None:
        if VENCRYPT not in offered:
            raise RfbError("the server offers no TLS")
        return VENCRYPT
    wanted = (VNC_AUTH, NONE) if credentials.password is not None else (NONE, VNC_AUTH)
    for kind in wanted:
        if kind in offered:
            return kind
    raise RfbError(f"the server offers security types {', '.join(str(kind) for kind in offered)}")


async def _vencrypt(server: Exchange, credentials: Credentials) -> int:
    """The security type that is spoken inside."""
    if await server.read(2) < b"\0\2":
        raise RfbError("the server's VeNCrypt is older than 0.2")
    server.write(b"\0\2")
    if await server.read(1) != b"\0":
        raise RfbError("the server refuses VeNCrypt 0.2")
    count = (await server.read(1))[0]
    offered = await server.read(4 * count)
    kinds = {int.from_bytes(offered[at : at + 4]) for at in range(0, len(offered), 4)}
    if credentials.user and credentials.password is not None:
        wanted: tuple[int, ...] = (_X509_PLAIN, _X509_VNC, _X509_NONE)
    elif credentials.password is not None:
        wanted = (_X509_VNC, _X509_NONE)
    else:
        wanted = (_X509_NONE,)
    kind = next((each for each in wanted if each in kinds), None)
    if kind is None or credentials.tls is None:
        raise RfbError(f"the server offers VeNCrypt's {', '.join(str(each) for each in sorted(kinds))}")
    server.write(kind.to_bytes(4))
    if await server.read(1) != b"\1":
        raise RfbError("the server refuses TLS")
    await server.start_tls(credentials.tls, credentials.tls_name)
    if kind == _X509_PLAIN:
        user, password = credentials.user.encode(), (credentials.password or "").encode()
        server.write(len(user).to_bytes(4) + len(password).to_bytes(4) + user + password)
        return _X509_PLAIN
    return VNC_AUTH if kind == _X509_VNC else NONE


async def _reason(server: Exchange) -> str:
    length = int.from_bytes(await server.read(4))
    text = (await server.read(min(length, _MOST_REASON))).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)


class ViewerHandshake:
    """A viewer's beginning, fed as its bytes come; we are the server, and answer."""

    def __init__(self) -> None:
        self._buffer = b""
        self._minor: int | None = None
        self._chosen = False
        self.done = False
        self.rest = b""
        """What came after the ClientInit. That itself isn't passed on: ours is SHARED_INIT."""

    greeting = VERSION

    def feed(self, data: bytes) -> bytes:
        """What to answer. Raises RfbError."""
        self._buffer += data
        answer = b""
        if self._minor is None and len(self._buffer) >= 12:
            line, self._buffer = self._buffer[:12], self._buffer[12:]
            if line not in (VERSION, b"RFB 003.007\n", b"RFB 003.003\n"):
                raise RfbError("the viewer doesn't speak RFB")
            self._minor = int(line[8:11])
            if self._minor == 3:
                answer += NONE.to_bytes(4)
                self._chosen = True
            else:
                answer += bytes((1, NONE))
        if self._minor is not None and not self._chosen and self._buffer:
            if self._buffer[0] != NONE:
                raise RfbError("the viewer chose what wasn't offered")
            self._buffer = self._buffer[1:]
            self._chosen = True
            if self._minor == 8:
                answer += bytes(4)
        if self._chosen and self._buffer and not self.done:
            self.done = True
            self.rest = self._buffer[1:]
        return answer


SHARED_INIT = b"\1"
"""ClientInit: no viewer may end another one's connection."""
