"""Algorithms and versions that are taken where the document says so, and warned of as long as it does."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router.document import RouterDocument, Tunnel
from router.document.ipsec import OBSOLETE as ALGORITHMS
from router.document.ipsec import EspProposal, IkeProposal


def warned(document: RouterDocument) -> Iterator[Problem]:
    for name, tunnel in document.ipsec.items():
        at = ("ipsec", name)
        if tunnel.version == 1:
            yield Problem(pointer(*at, "version"), f"Tunnel {name}: IKEv1 is obsolete (RFC 9395)")
        for place, used in _proposals(tunnel):
            yield Problem(
                pointer(*at, *place), f"Tunnel {name}: {used}: obsolete (RFC 8221, RFC 8247), and let in"
            )
    access = document.remote_access
    if access is not None and access.l2tp is not None and access.l2tp.obsolete:
        what = "3des, modp1024: obsolete (RFC 8221, RFC 8247), and let in"
        yield Problem(pointer("remote_access", "l2tp", "obsolete"), f"L2TP: {what}")


def obsolete(proposal: IkeProposal | EspProposal) -> str:
    """What of a proposal is; mostly nothing."""
    used = ALGORITHMS & {proposal.encryption, proposal.hash, proposal.group}
    return ", ".join(sorted(used))


def _proposals(tunnel: Tunnel) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for number, ike in enumerate(tunnel.ike.proposals or ()):
        if used := obsolete(ike):
            yield ("ike", "proposals", number), used
    for number, esp in enumerate(tunnel.esp.proposals or ()):
        if used := obsolete(esp):
            yield ("esp", "proposals", number), used
