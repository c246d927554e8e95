"""What this machine's kernel can do, probed once by trying: never a crash, always in status."""

import contextlib
import subprocess
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import closing

from appliance.engine import checksum, l2tp
from appliance.engine.nft import Nft
from appliance.engine.rtnetlink import IPRoute, NetlinkError
from appliance.engine.traffic_control import TrafficControl

_LINK = "sysvm-probe"
_STATE = ("src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x73797376")
_ENCRYPTION = ("mode", "tunnel", "aead", "rfc4106(gcm(aes))", "0x" + "00" * 20, "128")
_ALGS = {"ftp": "tcp", "pptp": "tcp", "sip": "udp", "tftp": "udp"}
"""Application level gateways: connection tracking's helpers, and a protocol that each is for."""
_ANSWERS = "fib daddr type != local socket transparent 1 accept"
_SECONDS = 10.0


def probe(nft: Nft) -> Mapping[str, bool]:
    return {
        "nat": _accepts(nft, "chain c { type nat hook prerouting priority 0; dnat ip to 192.0.2.1; }"),
        "flowtable": nft.flowtables(),
        "transparent_sockets": _accepts(
            nft, f"chain c {{ type filter hook prerouting priority 0; {_ANSWERS}; }}"
        ),
        "connection_limits": _accepts(nft, "chain c { ct count over 10 drop; }"),
        "checksum_fill": checksum.available(),
        **_algs(nft),
        "wireguard": _has_link_kind("wireguard"),
        "vxlan": _has_link_kind("vxlan", vxlan_id=1),
        "ipsec": _has_esp(),
        "l2tp": l2tp.available(),
        **dict.fromkeys(("htb", "fq_codel"), False),
        **dict.fromkeys(_queue_kinds(), True),
    }


def _queue_kinds() -> AbstractSet[str]:
    with closing(TrafficControl()) as asking:
        return asking.kinds()


def _algs(nft: Nft) -> Mapping[str, bool]:
    objects = {
        name: f'ct helper {name} {{ type "{name}" protocol {protocol}; l3proto ip; }}'
        for name, protocol in _ALGS.items()
    }
    # Mostly it has them all, and one question will do.
    every = _accepts(nft, "; ".join(objects.values()))
    return {f"{name}_alg": every or _accepts(nft, text) for name, text in objects.items()}


def _accepts(nft: Nft, content: str) -> bool:
    return nft.accepts(f"table inet sysvm_probe {{ {content}; }}")


def _has_link_kind(kind: str, **options: int) -> bool:
    with IPRoute() as ip:
        try:
            ip.link("add", ifname=_LINK, kind=kind, **options)
        except (NetlinkError, OSError):
            return False
        with contextlib.suppress(NetlinkError):
            ip.link("del", ifname=_LINK)
    return True


def _has_esp() -> bool:
    """By a security association of documentation's addresses, which no policy uses: the kernel looks for ESP
    and its ciphers when one is made. ip-xfrm(8)."""
    if not _xfrm("add", *_STATE, *_ENCRYPTION):
        return False
    _xfrm("delete", *_STATE)
    return True


def _xfrm(*words: str) -> bool:
    try:
        ran = subprocess.run(["ip", "xfrm", "state", *words], capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0
