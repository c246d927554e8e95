"""The roles an appliance can have; each is a package with a document, services and checks of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from appliance.boot import Boot
from appliance.checks import Check
from appliance.document import Document
from appliance.model import Problem, RefusedError, validated
from appliance.resources import Resource
from appliance.services import control

ROLES = {
    "consoleproxy": "consoleproxy.role",
    "router": "router.role",
    "secstorage": "secstorage.role",
}
"""Role -> module with what the role is made of."""


class UnknownRoleError(LookupError):
    """A role that there is no package for."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no role {name!r}; there are: {', '.join(sorted(ROLES))}.")


class Service(Protocol):
    def resources(self, document: Any) -> Iterator[Resource]: ...


class Role(Protocol):
    Document: type[Document]
    SERVICES: list[Service]
    SEALED: list[tuple[str, ...]]
    """Places of what is handed out once and then forgotten; `*` stands for any key."""
    APIS: Mapping[str, str]
    """What is asked below /v1/NAME/ is answered by a daemon of the role's, on this unix socket."""

    def settled(self, document: Any, wanted: Iterable[Resource]) -> Iterator[Resource]:
        """What all services together want, as this appliance must have it."""

    def checks(self, document: Any) -> Iterator[Check]: ...

    def counted(self, document: Any) -> Mapping[tuple[str, str, str], tuple[str, ...]]: ...

    def problems(self, document: Any, known_good: Any = None) -> list[Problem]: ...

    def lapsed(self, document: Any, running: Any = None) -> list[Problem]:
        """What was right once and isn't any more, but for what `running` has, too."""
        ...

    def warnings(self, document: Any) -> list[Problem]:
        """What isn't as it should be in a document that runs, and is no reason to refuse it."""
        ...

    def origins(self, document: Any, stage: Any) -> Sequence[str]:
        """The places of the document (RFC 6901) that a verdict about a packet comes from; see
        agent/explanation.py."""
        ...


def role(name: str) -> Role:
    """The package of a role, imported when first asked for. Raises UnknownRoleError."""
    if name not in ROLES:
        raise UnknownRoleError(name)
    return cast(Role, import_module(ROLES[name]))


def document_model(name: str) -> type[Document]:
    return role(name).Document


def read(
    name: str, value: object, known_good: Document | None = None, *, running: Document | None = None
) -> Document:
    """A document of this role from JSON values (or models already validated). Raises RefusedError, and
    UnknownRoleError.

    What `known_good`, an accepted document, shares with it isn't checked again. What has lapsed since
    `running` was accepted is no reason to refuse it."""
    document = read_again(name, value, known_good)
    if problems := role(name).lapsed(document, running):
        raise RefusedError(problems)
    return document


def read_again(name: str, value: object, known_good: Document | None = None) -> Document:
    """A document that was accepted once, whatever has lapsed since. Raises as `read` does."""
    package = role(name)
    document = validated(package.Document, value)
    if problems := package.problems(document, known_good):
        raise RefusedError(problems)
    return document


def empty(name: str, appliance: str) -> Document:
    """What runs until the first push: nothing but management."""
    return document_model(name).model_construct(role=name, name=appliance, generation=0)


def resources(document: Document, boot: Boot | None = None) -> Iterator[Resource]:
    """The machine state that a document means; with boot data, the control interface is part of it."""
    if boot is not None:
        yield from control.resources(boot)
    package = role(document.role)
    wanted = (resource for service in package.SERVICES for resource in service.resources(document))
    yield from package.settled(document, wanted)
