"""Remote access by IKEv2: one connection for all users, a secret for each."""

import ipaddress
from collections.abc import Iterator, Sequence

from appliance.memo import per_key
from appliance.resources import AddressPool, Connection, PrivateKey, Resource, Setting, SharedSecret
from appliance.route import Route
from router.document import Ikev2, RemoteAccess, RouterDocument, User
from router.ipsec import SHARED_LINK
from router.network import GUEST

CONNECTION = "@remote-access"
"""No tunnel can have this name."""
_NUMBER = "65535"
# Also without a key exchange of its own for later keys: what phones and Windows ask for.
_IKE = ["aes256gcm16-prfsha384-ecp384", "aes256gcm16-prfsha256-ecp256", "aes256gcm16-prfsha256-modp2048",
        "aes256-sha256-ecp256", "aes256-sha256-modp2048", "aes256-sha384-modp2048"]  # fmt: skip
_ESP = ["aes256gcm16-ecp256", "aes256gcm16-modp2048", "aes256gcm16", "aes256-sha256-modp2048",
        "aes256-sha256"]  # fmt: skip
_DEAD_SECONDS = 30
BEGUN = "/usr/lib/sysvm-router/user-begun"


def resources(document: RouterDocument) -> Iterator[Resource]:
    access = document.remote_access
    if access is None or access.ikev2 is None:
        return
    for network in access.pool:
        yield Route(destination=network, link=SHARED_LINK)
    pools = [
        AddressPool(
            name=f"{CONNECTION}-{family}",
            network=network,
            attributes=_told(access, network, negotiated(document, access)),
        )
        for network in access.pool
        for family in [6 if ":" in network else 4]
    ]
    yield from pools
    yield PrivateKey(name=CONNECTION, value=access.ikev2.private_key.get_secret_value())
    secrets = _secrets(access.users)
    yield from (secrets[name] for name in access.users)
    yield Connection(
        name=CONNECTION,
        settings=_settings(access, access.ikev2, negotiated(document, access)),
        link=SHARED_LINK,
        users=True,
    )


def subnets(document: RouterDocument, access: RemoteAccess) -> list[str]:
    """What users reach behind the router that don't say it themselves."""
    return access.subnets or guests(document, sorted(document.interfaces))


def guests(document: RouterDocument, links: Sequence[str]) -> list[str]:
    """The networks of those links that are guests', of both families."""
    return [
        str(ipaddress.ip_interface(address).network)
        for link in links
        if link.startswith(GUEST) and link in document.interfaces
        for address in document.interfaces[link].addresses
    ]


def reached(document: RouterDocument, access: RemoteAccess, user: User) -> list[str]:
    """The networks that a user reaches."""
    return subnets(document, access) if user.reach is None else guests(document, user.reach)


def by_user(access: RemoteAccess) -> bool:
    """Whether users don't all reach the same."""
    return any(user.reach is not None for user in access.users.values())


def negotiated(document: RouterDocument, access: RemoteAccess) -> list[str]:
    """What any user reaches: all have one connection, whose networks are the same whoever comes."""
    own = [
        network for user in access.users.values() if user.reach for network in guests(document, user.reach)
    ]
    return list(dict.fromkeys([*subnets(document, access), *own]))


def _told(access: RemoteAccess, pool: str, reached: Sequence[str]) -> dict[str, Setting]:
    """What users learn along with an address of this pool. The networks behind the router (RFC 7296, section
    3.15.1) are for clients that make routes of them; with a full tunnel there is nothing else to tell."""
    told = {
        "dns": _of_family(access.dns, pool),
        "subnet": [] if access.full_tunnel else _of_family(reached, pool),
    }
    return {name: values for name, values in told.items() if values}


def _of_family(addresses: Sequence[str], network: str) -> list[str]:
    return [address for address in addresses if (":" in address) == (":" in network)]


@per_key
def _secrets(name: str, user: User) -> SharedSecret:
    return SharedSecret(kind="EAP", name=name, owners=(name,), value=user.password.get_secret_value())


def pools(access: RemoteAccess) -> list[str]:
    """The networks that users have addresses of, however they come."""
    return [*(access.pool if access.ikev2 else ()), *([access.l2tp.pool] if access.l2tp else ())]


def _settings(access: RemoteAccess, server: Ikev2, reached: Sequence[str]) -> dict[str, Setting]:
    everything = ["0.0.0.0/0" if ":" not in network else "::/0" for network in access.pool]
    return {
        "version": "2",
        "local_addrs": [server.address],
        "remote_addrs": ["%any"],
        "proposals": _IKE,
        "dpd_delay": f"{_DEAD_SECONDS}s",
        "send_cert": "always",
        # A user may have several machines.
        "unique": "never",
        "pools": [f"{CONNECTION}-{6 if ':' in network else 4}" for network in access.pool],
        "if_id_in": _NUMBER,
        "if_id_out": _NUMBER,
        "local-1": {
            "auth": "pubkey", "id": server.identity, "certs": [server.certificate],
        },
        "remote-1": {"auth": "eap-mschapv2", "eap_id": "%any", "id": "%any"},
        "children": {
            "net": {
                "local_ts": everything if access.full_tunnel else [*reached],
                "esp_proposals": _ESP,
                "start_action": "none",
                "dpd_action": "clear",
                # Lets him through to what he reaches, where users differ in that.
                "updown": BEGUN,
            }
        },
    }  # fmt: skip
