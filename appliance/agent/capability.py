"""What this machine's kernel can do, probed once: never a crash, always in status.

By trying, but where all that it takes is in modules of this very kernel. To load what may
never be wanted takes an emulated machine seconds of its boot, and memory for good.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path

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
_KERNELS = Path("/lib/modules")
_ESP = frozenset({"esp4", "esp6", "xfrm_user", "xfrm_interface", "seqiv", "gcm"})
_MODULES: Mapping[str, AbstractSet[str]] = {
    "transparent_sockets": frozenset({"nft_fib_inet", "nft_socket"}),
    "connection_limits": frozenset({"nft_connlimit"}),
    **{f"{name}_alg": frozenset({f"nf_conntrack_{name}", f"nf_nat_{name}"}) for name in _ALGS},
    "wireguard": frozenset({"wireguard"}),
    "vxlan": frozenset({"vxlan"}),
    "ipsec": _ESP,
    "l2tp": _ESP | {"l2tp_ppp", "pppox", "ppp_generic"},
}
"""What each takes."""


def probe(nft: Nft) -> Mapping[str, bool]:
    there = loadable(_KERNELS / os.uname().release)
    tried: dict[str, Callable[[], bool]] = {
        "transparent_sockets": lambda: _accepts(
            nft, f"chain c {{ type filter hook prerouting priority 0; {_ANSWERS}; }}"
        ),
        "connection_limits": lambda: _accepts(nft, "chain c { ct count over 10 drop; }"),
        **{f"{name}_alg": lambda name=name: _alg(nft, name) for name in _ALGS},  # type: ignore[misc]
        "wireguard": lambda: _has_link_kind("wireguard"),
        "vxlan": lambda: _has_link_kind("vxlan", vxlan_id=1),
        "ipsec": _has_esp,
        "l2tp": l2tp.available,
    }
    return {
        "nat": _accepts(nft, "chain c { type nat hook prerouting priority 0; dnat ip to 192.0.2.1; }"),
        "flowtable": nft.flowtables(),
        "checksum_fill": checksum.available(),
        **{name: _MODULES[name] <= there or trial() for name, trial in tried.items()},
        **dict.fromkeys(("htb", "fq_codel"), False),
        **dict.fromkeys(_queue_kinds(), True),
    }


def loadable(kernel: Path) -> AbstractSet[str]:
    """Names of the modules that a kernel has in its directory, or built in (modules.dep(5))."""
    found = set()
    for index in ("modules.dep", "modules.builtin"):
        with contextlib.suppress(FileNotFoundError):
            for line in (kernel / index).read_text().splitlines():
                name = line.partition(":")[0].rpartition("/")[2].partition(".ko")[0]
                found.add(name.replace("-", "_"))
    return found


def _queue_kinds() -> AbstractSet[str]:
    with closing(TrafficControl()) as asking:
        return asking.kinds()


def _alg(nft: Nft, name: str) -> bool:
    return _accepts(nft, f'ct helper {name} {{ type "{name}" protocol {_ALGS[name]}; l3proto ip; }}')


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
