"""Look peers up that are known by name: as they come, and again where nothing is heard from them.

A name that moves to another address is how a peer with a changing address is found when it can't begin
itself (wireguard-tools, reresolve-dns.sh). Apart from applying documents, for a DNS server may take long.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.engine import wireguard
from appliance.engine.host import Host
from appliance.engine.wireguard import Noted
from appliance.engine.wireguard_device import DeviceChange, Peer, PeerChange
from appliance.resources import is_named

log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_ANSWER_SECONDS = 3.0
_DNS_PORT = 53


@dataclass
class Endpoints:
    host: Host
    silent_seconds: float = 135.0
    """A peer that is there makes a handshake every 120 s while there is anything to send, and another one
    15 s after nothing was answered."""
    again_seconds: float = 30.0
    """Between two questions for one name."""
    _asked: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    """By tunnel and key: what was looked up last, and when."""

    def watch(self) -> None:
        """Forever."""
        while True:
            time.sleep(_LOOK_SECONDS)
            try:
                self.look()
            except Exception:
                log.exception("Looking for peers failed")

    def look(self) -> None:
        """Once at all peers with a name."""
        for noted in wireguard.known(self.host):
            named = {key: endpoint for key, endpoint in noted.endpoints.items() if is_named(endpoint)}
            device = noted.back_end.observe(noted.link) if named else None
            if device is None:
                continue
            for key, endpoint in named.items():
                peer = device.peers.get(key)
                if peer is not None and self._is_due(noted, key, endpoint, peer):
                    self._asked[noted.link, key] = endpoint, time.monotonic()
                    self._set(noted, key, endpoint, peer)

    def _is_due(self, noted: Noted, key: str, endpoint: str, peer: Peer) -> bool:
        before, at = self._asked.setdefault((noted.link, key), (endpoint, -math.inf))
        if before != endpoint:
            return True
        silent = not peer.endpoint or time.time() - peer.latest_handshake > self.silent_seconds
        return silent and time.monotonic() - at > self.again_seconds

    def _set(self, noted: Noted, key: str, endpoint: str, peer: Peer) -> None:
        name, _, port = endpoint.rpartition(":")
        addresses = list(_addresses(name, noted.resolvers))
        who = f"{noted.names[key]} of {noted.link}"
        if not addresses:
            log.warning("Peer %s: no DNS server tells the address of %s", who, name)
            return
        found = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in addresses]
        if peer.endpoint not in found:
            log.info("Peer %s is at %s now", who, found[0])
            change = PeerChange(public_key=key, endpoint=found[0], update_only=True)
            noted.back_end.change(noted.link, DeviceChange(peers=[change]))


def _addresses(name: str, resolvers: Sequence[str]) -> Iterator[str]:
    """What DNS servers say of a name, IPv4 first."""
    # With the first name, not before the API: see `health`.
    import dns.exception
    import dns.nameserver
    import dns.resolver

    asking = dns.resolver.Resolver(configure=False)
    asking.lifetime = _ANSWER_SECONDS
    asking.nameservers = [
        dns.nameserver.Do53Nameserver(address, int(port or _DNS_PORT))
        for address, _, port in (resolver.partition("#") for resolver in resolvers)
    ]
    for kind in ("A", "AAAA"):
        try:
            yield from (item.to_text() for item in asking.resolve(f"{name}.", kind))
        except dns.exception.DNSException:
            continue
