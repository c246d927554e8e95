"""What this machine's kernel can do, probed once by trying: never a crash, always in status."""

import contextlib
from collections.abc import Mapping

from appliance.engine import checksum
from appliance.engine.nft import Nft
from appliance.engine.rtnetlink import IPRoute, NetlinkError

_LINK = "sysvm-probe"


def probe(nft: Nft) -> Mapping[str, bool]:
    return {
        "nat": _accepts(nft, "chain c { type nat hook prerouting priority 0; dnat ip to 192.0.2.1; }"),
        "flowtables": nft.flowtables(),
        "connection_limits": _accepts(nft, "chain c { ct count over 10 drop; }"),
        "checksum_fill": checksum.available(),
        "wireguard": _has_link_kind("wireguard"),
        "vxlan": _has_link_kind("vxlan", vxlan_id=1),
    }


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
