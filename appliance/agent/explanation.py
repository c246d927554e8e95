"""What becomes of a packet, and which line of the document says so: asked of the live ruleset, by a probe
that the kernel itself carries through the rules.

The probe comes in by the right link, is traced by nf_tables, and is dropped by our last chain before it
could leave or be delivered; so no guest and no daemon sees it, and connection tracking, which confirms
connections behind that chain, doesn't keep it. What would be answered to its sender is dropped, too.
"""

import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from appliance.address import InterfaceName, IpAddress
from appliance.agent import injection, trace
from appliance.agent.injection import InjectionError
from appliance.agent.packet import ICMP, ICMPV6, TCP, UDP, Packet, answer_match, built, mark_match, number
from appliance.document import Document
from appliance.engine.nft import Nft
from appliance.model import Model

TABLE = "sysvm_explain"
ROUTE = "route"
"""The chain of a stage that is no rule but the route that leads on, with the same for its verdict."""
_BEGIN, _END, _TOP = "begin", "end", 2**31 - 2
_SILENCE = 0.4
"""Seconds without an event after which there will be none."""
_PORTS = range(61_000, 65_536)
Port = Annotated[int, Field(ge=1, le=65535)]


class Question(Model):
    source: IpAddress = Field(alias="from")
    destination: IpAddress = Field(alias="to")
    protocol: Literal["tcp", "udp", "icmp"] | Annotated[int, Field(ge=0, le=255)] = "tcp"
    port: Port | None = None
    """The destination's; tcp and udp have one."""
    source_port: Port | None = None
    """Absent: one that hardly anybody uses, as a new connection has."""
    icmp_type: Annotated[int, Field(ge=0, le=255)] | None = None
    """Absent: an echo request's."""
    link: InterfaceName | None = None
    """By which it comes in; absent: by which an answer to `from` would leave."""


class QuestionError(ValueError):
    """A question that has no answer; a sentence."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A rule or policy that had its effect on the packet."""

    table: str
    chain: str
    rule: str
    verdict: str
    packet: Packet
    link_in: str
    link_out: str


Origins = Callable[[Document, Stage], Sequence[str]]
"""The places of a document (RFC 6901) that a stage comes from."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    outcome: Literal["forwarded", "delivered", "dropped", "unroutable"]
    detail: str
    pointer: str | None
    """What decided; None where no line of the document did."""
    link_in: str
    link_out: str | None
    packet: Packet
    """As it came in."""
    leaves: Packet | None
    """As it would leave, or be delivered."""
    stages: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "detail": self.detail,
            "pointer": self.pointer,
            "link_in": self.link_in,
            "link_out": self.link_out,
            "packet": self.packet.as_json(),
            "leaves": self.leaves.as_json() if self.leaves else None,
            "stages": list(self.stages),
        }


_ONE_AT_A_TIME = threading.Lock()


def explain(question: Question, document: Document, origins: Origins) -> Explanation:
    """Raises QuestionError, and InjectionError where this kernel lets nobody ask."""
    with _ONE_AT_A_TIME:
        packet = _packet(question)
        link = question.link or injection.link_towards(packet.source)
        if link is None or link not in {name for _, name in socket.if_nameindex()}:
            raise QuestionError(
                f"{packet.source} is the router's own, or nowhere it knows of: say by which link it comes"
                if question.link is None
                else f"There is no link {link}"
            )
        mark = secrets.randbelow(2**32 - 2) + 1
        events, texts = _traced(packet, link, mark)
        return _explained(packet, link, events, texts, document, origins)


def _packet(question: Question) -> Packet:
    version = 6 if ":" in question.source else 4
    if version != (6 if ":" in question.destination else 4):
        raise QuestionError("from and to are addresses of different families")
    protocol = number(question.protocol, version=version)
    if (protocol in (TCP, UDP)) != (question.port is not None):
        raise QuestionError("tcp and udp need a port, and other protocols have none")
    if question.icmp_type is not None and protocol not in (ICMP, ICMPV6):
        raise QuestionError("Only icmp has types")
    ports = (question.source_port or secrets.choice(_PORTS), question.port) if question.port else (0, 0)
    icmp_type = -1 if question.icmp_type is None else question.icmp_type
    if protocol in (ICMP, ICMPV6) and icmp_type < 0:
        icmp_type = 8 if version == 4 else 128
    return Packet(question.source, question.destination, protocol, *ports, icmp_type)


def _traced(packet: Packet, link: str, mark: int) -> tuple[list[trace.Event], dict[Any, str]]:
    nft = Nft()
    nft.run(f"add table inet {TABLE}\ndelete table inet {TABLE}\n{_table(packet, link, mark)}")
    try:
        with trace.tracing() as tracer, injection.device(link, packet):
            sender = injection.neighbour(packet.source, link)
            texts = trace.rules()
            content = built(packet, mark=mark)
            injection.inject(link, content, version=packet.version, sender=sender)
            return _own(tracer.events(seconds=_SILENCE)), texts
    finally:
        nft.run(f"delete table inet {TABLE}")
        nft.close()


def _table(packet: Packet, link: str, mark: int) -> str:
    match = mark_match(packet, mark)
    answers = "".join(f"        {line} drop\n" for line in answer_match(packet, mark))
    return f"""table inet {TABLE} {{
    chain {_BEGIN} {{
        type filter hook prerouting priority -500; policy accept;
        iifname "{link}" {match} meta nftrace set 1
    }}
    chain {_END}_forwarded {{
        type filter hook postrouting priority {_TOP}; policy accept;
        {match} drop
    }}
    chain {_END}_delivered {{
        type filter hook input priority {_TOP}; policy accept;
        {match} drop
    }}
    chain answers {{
        type filter hook output priority -500; policy accept;
{answers}    }}
}}
"""


def _own(events: Iterable[trace.Event]) -> list[trace.Event]:
    """Those of our packet: somebody else may trace his."""
    found: list[trace.Event] = []
    identity = None
    for event in events:
        if identity is None and event.table == TABLE and event.chain == _BEGIN:
            identity = event.identity
        if event.identity != identity:
            continue
        found.append(event)
        if event.verdict == "drop":
            break
    return found


def _explained(
    packet: Packet,
    link: str,
    events: Sequence[trace.Event],
    texts: Mapping[Any, str],
    document: Document,
    origins: Origins,
) -> Explanation:
    if not events:
        raise InjectionError(f"No rule saw the probe that came by {link}; is it up?")
    names = dict(socket.if_nameindex())
    seen, link_out = packet, ""
    stages: list[tuple[Stage, Sequence[str]]] = []
    ended, routed = None, False
    for event in events:
        seen = event.packet or seen
        link_out = names.get(event.link_out, link_out)
        if event.table == TABLE:
            ended = event.chain if event.verdict == "drop" else ended
            continue
        if event.link_out and not routed:
            routed = True
            stages += _route(document, origins, seen, link, link_out, event.mark)
        if event.verdict == "continue" or not event.kind:
            continue
        text = texts.get((event.table, event.chain, event.handle), "") if event.kind == "rule" else "policy"
        stage = Stage(event.table, event.chain, text, event.verdict, seen, link, link_out)
        if event.kind == "policy" and event.verdict == "accept":
            continue
        found = origins(document, stage)
        # A jump says something only where a line of the document is behind it.
        if found or event.verdict not in ("jump", "goto", "return"):
            stages.append((stage, found))
    return _concluded(packet, link, link_out or None, seen, stages, ended)


def _route(
    document: Document, origins: Origins, packet: Packet, link: str, link_out: str, mark: int
) -> Iterator[tuple[Stage, Sequence[str]]]:
    """By which it leaves, asked when its destination is the last one."""
    if found := injection.route(packet, link, mark):
        stage = Stage("", ROUTE, found, ROUTE, packet, link, link_out)
        yield stage, origins(document, stage)


def _concluded(
    packet: Packet,
    link: str,
    link_out: str | None,
    last: Packet,
    stages: Sequence[tuple[Stage, Sequence[str]]],
    ended: str | None,
) -> Explanation:
    shown = tuple(
        {
            "table": stage.table,
            "chain": stage.chain,
            "rule": stage.rule,
            "verdict": stage.verdict,
            "pointers": list(pointers),
            "packet": stage.packet.as_json(),
        }
        for stage, pointers in stages
    )
    if ended is None and stages and stages[-1][0].verdict in ("drop", "stolen"):
        stage, pointers = stages[-1]
        by = pointers[0] if pointers else None
        what = "its policy" if stage.rule == "policy" else f"the rule: {stage.rule}"
        why = by or f"no line of the document lets it through ({stage.chain}: {what})"
        return Explanation(
            outcome="dropped", detail=f"{packet} from {link} is dropped: {why}", pointer=by, link_in=link,
            link_out=link_out, packet=packet, leaves=None, stages=shown,
        )  # fmt: skip
    if ended is None:
        return Explanation(
            outcome="unroutable", detail=f"{packet} from {link}: the router knows no way there",
            pointer=None, link_in=link, link_out=None, packet=packet, leaves=None, stages=shown,
        )  # fmt: skip
    forwarded = ended == f"{_END}_forwarded"
    told = [(stage, pointers[0]) for stage, pointers in stages if pointers]
    decided = [by for stage, by in told if not _translates(stage) and stage.chain != ROUTE]
    translated = [by for stage, by in told if _translates(stage)]
    led = [by for stage, by in told if stage.chain == ROUTE]
    by = next(reversed(decided or translated or led), None)
    where = f"leaves by {link_out}" if forwarded else "is for the router itself"
    return Explanation(
        outcome="forwarded" if forwarded else "delivered",
        detail=f"{packet} from {link} {where}{f' as {last}' if last != packet else ''}"
        f"{f': {by}' if by else ''}",
        pointer=by, link_in=link, link_out=link_out if forwarded else None, packet=packet, leaves=last,
        stages=shown,
    )  # fmt: skip


def _translates(stage: Stage) -> bool:
    return any(word in stage.rule.split() for word in ("dnat", "snat", "masquerade"))
