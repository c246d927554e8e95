"""What remote users reach as they are connected now, as elements of the packet filter's sets.

Who has which address the daemons know. As somebody comes, a script of the router's adds what he reaches (it
is `user-begun`, in its rootfs); here the same is added again to a table that is made anew, and changed with
the document.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from appliance.admission import Users
from appliance.engine import charon, l2tp
from appliance.resources import Ruleset

Elements = Mapping[str, Mapping[str, str | None]]
_INSTALLED = ("INSTALLED", "REKEYING", "REKEYED")


def settled(ruleset: Ruleset, observed: Elements) -> Ruleset:
    """With the elements of the users who are connected."""
    if ruleset.users is None:
        return ruleset
    return replace(
        ruleset, elements={**ruleset.elements, **elements(ruleset.users, dict(connected()), observed)}
    )


def connected() -> Iterator[tuple[str, str]]:
    """Addresses, each with its user."""
    if charon.runs():
        with charon.session() as asked:
            for one in charon.associations(asked) if asked is not None else ():
                if one.user is not None and any(child.state in _INSTALLED for child in one.children):
                    yield from ((address, one.user) for address in one.addresses)
    for session in l2tp.sessions():
        yield session.address, session.user


def elements(users: Users, connected: Mapping[str, str], observed: Elements) -> Elements:
    """`connected` are users by their addresses. What is there of an address that nobody has stays: it may be
    of who comes just now, and who comes next has it changed."""
    found: dict[str, dict[str, str | None]] = {name: {} for name in users.sets}
    known = {network for networks in users.reached.values() for network in networks}
    for name in users.sets:
        for key in observed.get(name, {}):
            network, _, address = key.partition(" . ")
            if address not in connected and network in known:
                found[name][key] = None
    for address, user in connected.items():
        six = ":" in address
        for network in users.reached.get(user, ()):
            if (":" in network) == six:
                found[users.sets[six]][f"{network} . {address}"] = None
    return found
