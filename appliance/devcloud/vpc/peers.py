"""Who comes to the VPC from outside, with programs of other people's: an office by IPsec (strongSwan) and a
user on the road by WireGuard (wireguard-go). Both in user space, so that the kernel needs neither; their
programs are those that the router's tree has, in a namespace of their own with files of their own.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from appliance import disk
from appliance.devcloud import end
from appliance.devcloud.layout import PUBLIC_SEGMENT
from appliance.devcloud.vpc.keys import Keys
from appliance.devcloud.vpc.layout import (
    LAPTOP,
    LAPTOP_ADDRESS,
    LAPTOP_MAC,
    OFFICE,
    OFFICE_ADDRESS,
    OFFICE_HOST,
    OFFICE_MAC,
    OFFICE_NETWORK,
    PUBLIC_ADDRESS,
    TUNNEL_NETWORK,
    USER_ADDRESS,
    WEB_NETWORK,
)
from appliance.runtime import namespace
from appliance.runtime.daemon import Daemon
from appliance.runtime.naming import full_name, state_directory
from appliance.runtime.runtime import Interface, MachineError

_START_SECONDS = 20.0
_LINK = "wg0"
_STRONGSWAN = """
charon-systemd {
    load = random nonce openssl kdf pem x509 pubkey pkcs1 pkcs8 constraints revocation \
 kernel-libipsec kernel-netlink socket-default vici
    plugins {
        vici {
            socket = unix:///run/vici.sock
        }
    }
}
"""


def daemons(cloud: str, tree: Path) -> list[Daemon]:
    return [
        _daemon(cloud, OFFICE, tree, "/usr/sbin/charon-systemd"),
        _daemon(cloud, LAPTOP, tree, "/usr/bin/wireguard-go", "--foreground", _LINK),
    ]


def _daemon(cloud: str, name: str, tree: Path, *argv: str) -> Daemon:
    return Daemon(cloud=cloud, name=f"{name}-vpn", namespace=name, argv=_inside(cloud, name, tree, argv))


def up(cloud: str, keys: Keys, tree: Path) -> None:
    """Have both there, and speaking to the router's public address. Raises MachineError."""
    for name, mac, address, local in (
        (OFFICE, OFFICE_MAC, OFFICE_ADDRESS, [OFFICE_HOST]),
        (LAPTOP, LAPTOP_MAC, LAPTOP_ADDRESS, []),
    ):
        card = Interface(segment=PUBLIC_SEGMENT, mac=mac)
        end.up(cloud, name, interface=card, link="public0", addresses=[f"{address}/24"], local=local)
    office, laptop = daemons(cloud, tree)
    if not office.running():
        place = _files(cloud, OFFICE)
        (place / "swanctl").mkdir(parents=True, exist_ok=True)
        disk.replace(place / "strongswan.conf", _STRONGSWAN.encode(), mode=0o600)
        disk.replace(place / "swanctl" / "swanctl.conf", _swanctl(keys).encode(), mode=0o600)
        (place / "vici.sock").unlink(missing_ok=True)
        office.start()
        _wait(office, place / "vici.sock")
        _run(cloud, OFFICE, tree, "/usr/sbin/swanctl", "--load-all", "--noprompt", "--uri",
             "unix:///run/vici.sock")  # fmt: skip
    if not laptop.running():
        place = _files(cloud, LAPTOP)
        place.mkdir(parents=True, exist_ok=True)
        control = place / "wireguard" / f"{_LINK}.sock"
        control.unlink(missing_ok=True)
        disk.replace(place / "wg.conf", _wg(keys).encode(), mode=0o600)
        laptop.start()
        _wait(laptop, control)
        _run(cloud, LAPTOP, tree, "/usr/bin/wg", "setconf", _LINK, "/run/wg.conf")
        for words in (
            f"address replace {USER_ADDRESS}/32 dev {_LINK}",
            f"link set {_LINK} mtu 1420 up",
            f"route replace {WEB_NETWORK} dev {_LINK}",
            f"route replace {TUNNEL_NETWORK} dev {_LINK}",
        ):
            namespace.run(full_name(cloud, LAPTOP), ["ip", *words.split()], check=True)


def _wait(daemon: Daemon, control: Path) -> None:
    """Until its control socket is there."""
    deadline = time.monotonic() + _START_SECONDS
    while not control.exists():
        if time.monotonic() > deadline:
            log = daemon.log.read_text() if daemon.log.exists() else ""
            raise MachineError(f"{daemon.name} doesn't start: {log[-1000:]}")
        time.sleep(0.02)


def _run(cloud: str, name: str, tree: Path, *argv: str) -> None:
    done = namespace.run(full_name(cloud, name), _inside(cloud, name, tree, argv))
    if done.returncode:
        raise MachineError(f"{name}: {' '.join(argv)}: {(done.stderr or done.stdout).strip()}")


def _files(cloud: str, name: str) -> Path:
    return state_directory(cloud, name)


def _inside(cloud: str, name: str, tree: Path, argv: Sequence[str]) -> tuple[str, ...]:
    """In the tree, with files of its own in /run; in a mount namespace, for the tree is everybody's."""
    script = (
        'mount --bind "$1" "$2/run"; mount --rbind /dev "$2/dev"; mount --rbind /proc "$2/proc"; '
        'tree=$2; shift 2; exec chroot "$tree" "$@"'
    )
    return (
        "unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh",
        str(_files(cloud, name)), str(tree),
        "env", "STRONGSWAN_CONF=/run/strongswan.conf", "SWANCTL_DIR=/run/swanctl", *argv,
    )  # fmt: skip


def _swanctl(keys: Keys) -> str:
    """The office's side: it waits to be spoken to (swanctl.conf(5))."""
    return f"""
connections {{
  cloud {{
    version = 2
    local_addrs = {OFFICE_ADDRESS}
    remote_addrs = {PUBLIC_ADDRESS}
    proposals = aes256gcm16-prfsha256-ecp256
    local {{
      auth = psk
      id = {OFFICE_ADDRESS}
    }}
    remote {{
      auth = psk
      id = {PUBLIC_ADDRESS}
    }}
    children {{
      web {{
        local_ts = {OFFICE_NETWORK}
        remote_ts = {WEB_NETWORK}
        esp_proposals = aes256gcm16-ecp256
      }}
    }}
  }}
}}
secrets {{
  ike-cloud {{
    id = {PUBLIC_ADDRESS}
    secret = "{keys.site}"
  }}
}}
"""


def _wg(keys: Keys) -> str:
    """The user's side, without keepalives: it only answers and asks (wg(8))."""
    return f"""[Interface]
PrivateKey = {keys.user}
[Peer]
PublicKey = {keys.tunnel_public}
AllowedIPs = {WEB_NETWORK}, {TUNNEL_NETWORK}
Endpoint = {PUBLIC_ADDRESS}:51820
"""
