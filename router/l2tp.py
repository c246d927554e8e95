"""Remote access by L2TP in IPsec (RFC 3193): a transport-mode connection and its key for strongSwan, and
xl2tpd, which starts a pppd for each session. Users are those of remote access; pppd looks them up as they
come, so one more is one more line of a file that no daemon holds."""

import ipaddress
from collections.abc import Iterator

from appliance.memo import per_key
from appliance.resources import Connection, File, L2tpServer, Resource, Setting, SharedSecret, Unit
from appliance.route import Route
from appliance.template import render
from router.document import L2tp, RemoteAccess, RouterDocument, User
from router.ipsec import SHARED_LINK

CONNECTION = "@l2tp"
"""No tunnel can have this name."""
UNIT = "sysvm-l2tp.service"
PORT = 1701
MTU = 1360
"""Room for PPP, L2TP, and ESP with any cipher in UDP, on a path that takes 1,500."""
_DIRECTORY = "/run/sysvm/l2tp"
CONFIGURATION, OPTIONS, SECRETS = (
    f"{_DIRECTORY}/{name}" for name in ("xl2tpd.conf", "options", "chap-secrets")
)
_SCRIPTS = "/usr/lib/sysvm-router"
_MOST_DNS = 2
_DEAD_SECONDS = 30

# SHA-1 as HMAC: Windows proposes nothing better unless told to.
_IKE = ["aes256-sha256-modp2048", "aes128-sha256-modp2048", "aes256-sha1-ecp384", "aes256-sha1-modp2048",
        "aes128-sha1-ecp256", "aes128-sha1-modp2048"]  # fmt: skip
_OBSOLETE_IKE = ["3des-sha1-modp2048", "aes256-sha256-modp1024", "aes256-sha1-modp1024",
                 "aes128-sha1-modp1024", "3des-sha1-modp1024"]  # fmt: skip
_ESP = ["aes256-sha256", "aes128-sha256", "aes256-sha1", "aes128-sha1"]
_OBSOLETE_ESP = ["3des-sha1"]


def resources(document: RouterDocument) -> Iterator[Resource]:
    access = document.remote_access
    if access is None or access.l2tp is None:
        return
    server = access.l2tp
    # A user's own address is a link's; those of nobody go nowhere.
    yield Route(destination=server.pool, link=SHARED_LINK)
    yield SharedSecret(
        kind="IKE", name=CONNECTION, owners=(_identity(server),), value=server.psk.get_secret_value()
    )
    yield Connection(name=CONNECTION, settings=_settings(server), link=None, users=True)
    yield from _files(access, server)
    yield L2tpServer(
        unit=Unit(name=UNIT, restart_on=(CONFIGURATION,)), users=tuple(access.users), pool=server.pool,
        address=server.address,
    )  # fmt: skip


def _identity(server: L2tp) -> str:
    """What the router calls itself, and what the key is found by. The address written as a name: as an
    address it would be the identity of site-to-site tunnels, too, and the users' key would do for their
    peers."""
    return f"fqdn:{server.address}"


def _settings(server: L2tp) -> dict[str, Setting]:
    obsolete = server.obsolete
    return {
        "version": "1",
        "local_addrs": [server.address],
        "remote_addrs": ["%any"],
        "proposals": [*_IKE, *(_OBSOLETE_IKE if obsolete else ())],
        # When keys are due for a change is left to clients: some of them don't survive being asked.
        "rekey_time": "0s",
        "reauth_time": "0s",
        "dpd_delay": f"{_DEAD_SECONDS}s",
        # Behind different NATs users may call themselves alike.
        "unique": "never",
        "local-1": {"auth": "psk", "id": _identity(server)},
        "remote-1": {"auth": "psk", "id": "%any"},
        "children": {
            "l2tp": {
                "mode": "transport",
                "local_ts": [f"dynamic[udp/{PORT}]"],
                "remote_ts": ["dynamic[udp]"],
                "esp_proposals": [*_ESP, *(_OBSOLETE_ESP if obsolete else ())],
                "rekey_time": "0s",
                "start_action": "none",
                "dpd_action": "clear",
                # What tells users behind one NAT apart: templates/nftables/l2tp.nft.j2.
                "mark_in": "%unique/0x3fffffff",
                "mark_out": "%unique/0x3fffffff",
                "set_mark_in": "%same",
            }
        },
    }


def _files(access: RemoteAccess, server: L2tp) -> Iterator[Resource]:
    pool = ipaddress.IPv4Network(server.pool)
    yield File(
        path=CONFIGURATION,
        content=render(
            "l2tp/xl2tpd.conf.j2",
            address=server.address,
            own=pool[1],
            first=pool[2],
            last=pool[-2],
            options=OPTIONS,
        ),
    )
    yield File(
        path=OPTIONS,
        content=render(
            "l2tp/options.j2",
            secrets=SECRETS,
            mtu=MTU,
            dns=[address for address in access.dns if ":" not in address][:_MOST_DNS],
            begun=f"{_SCRIPTS}/ppp-begun",
            ended=f"{_SCRIPTS}/ppp-ended",
        ),
    )
    quoted = _quoted(access.users)
    yield File(
        path=SECRETS,
        content=render("l2tp/chap-secrets.j2", users=[(name, quoted[name]) for name in access.users]),
        mode=0o600,
        secret=True,
    )


@per_key
def _quoted(name: str, user: User) -> str:
    """A password as pppd reads it between quotes."""
    return user.password.get_secret_value().replace("\\", "\\\\").replace('"', '\\"')
