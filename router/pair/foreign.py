"""VRRP on our links that isn't the pair's: another pair with our number. Its adverts never come to
keepalived (templates/nftables/redundancy.nft.j2), but the two are one router to neighbours that
look at numbers."""

import socket
import struct
import threading
import time
from array import array
from collections.abc import Callable

from router.pair.settings import Settings

_IPV4 = 0x0800
_VRRP = 112
_GROUP = "224.0.0.18"
_ATTACH_FILTER = 26
_REMEMBERED = 60.0
_LOAD_BYTE, _LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x30, 0x20, 0x15, 0x06


class Foreigners:
    """Adverts of our number that others sent, by (link, sender), of the last minute."""

    def __init__(self, links: Callable[[], Settings]) -> None:
        self._settings = links
        self._seen: dict[tuple[str, str], float] = {}
        self._watched: dict[str, int] = {}

    def look(self) -> None:
        """Watch links that aren't watched yet, or by a card that went."""
        settings = self._settings()
        for link in {link for link, _ in settings.addresses} | {path.link for path in settings.paths}:
            try:
                index = socket.if_nametoindex(link)
            except OSError:
                continue
            if self._watched.get(link) != index:
                self._watched[link] = index
                threading.Thread(target=self._watch, args=(link, index), daemon=True).start()

    def seen(self) -> list[str]:
        now = time.monotonic()
        recent = [key for key, at in list(self._seen.items()) if now - at < _REMEMBERED]
        number = self._settings().virtual_router_id
        return [f"{sender} on {link} has virtual router ID {number}, too" for link, sender in sorted(recent)]

    def _watch(self, link: str, index: int) -> None:
        settings = self._settings()
        known = {address for path in settings.paths for address in (path.own, path.source)}
        try:
            with _listening(link, sorted(address for address in known if "." in address)) as raw:
                while self._watched.get(link) == index:
                    raw.settimeout(5.0)
                    try:
                        packet = raw.recv(256)
                    except TimeoutError:
                        continue
                    header = (packet[0] & 15) * 4
                    if len(packet) > header + 1 and packet[header + 1] == settings.virtual_router_id:
                        self._seen[link, socket.inet_ntoa(packet[12:16])] = time.monotonic()
        except OSError:
            self._watched.pop(link, None)


def _listening(link: str, known: list[str]) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    # Bound after the filter is there: nothing else wakes us, and not what the two say to one another.
    _filter(raw, known)
    raw.bind((link, _IPV4))
    # So that the card lets the group through (packet(7), PACKET_ADD_MEMBERSHIP, PACKET_MR_MULTICAST).
    mac = bytes.fromhex("01005e000012")
    raw.setsockopt(263, 1, struct.pack("=iHH8s", socket.if_nametoindex(link), 0, 6, mac))
    return raw


def _filter(raw: socket.socket, known: list[str]) -> None:
    """Classic BPF on the IPv4 packet: protocol 112, and none of the known senders."""
    steps = [(_LOAD_BYTE, 0, 0, 9), (_JUMP_EQUAL, 0, len(known) + 2, _VRRP), (_LOAD_WORD, 0, 0, 12)]
    for number, address in enumerate(known):
        sender = struct.unpack("!I", socket.inet_aton(address))[0]
        steps.append((_JUMP_EQUAL, len(known) - number, 0, sender))
    steps += [(_RETURN, 0, 0, 0xFFFF), (_RETURN, 0, 0, 0)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    buffer = array("B", code)
    program = struct.pack("@HP", len(steps), buffer.buffer_info()[0])
    raw.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
