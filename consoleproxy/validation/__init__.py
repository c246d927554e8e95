"""What a model can't say about a console proxy's document: rules across its sections, each broken one a
sentence. One module per noun names the sections it reads, and is asked again only when one has changed."""

from collections.abc import Callable, Iterator, Mapping

from appliance.memo import unchanged
from appliance.model import Problem
from appliance.validation import interfaces, routes
from consoleproxy.document import ConsoleproxyDocument
from consoleproxy.validation import certificates, consoles, listen

Check = Callable[[ConsoleproxyDocument], Iterator[Problem]]

CHECKS: Mapping[Check, tuple[str, ...]] = {
    interfaces.problems: ("interfaces",),
    routes.problems: ("interfaces", "routes"),
    listen.problems: ("interfaces", "listen", "certificates", "default_certificate"),
    certificates.problems: ("certificates", "default_certificate"),
    consoles.problems: ("consoles",),
}


def lapsed(document: ConsoleproxyDocument, running: ConsoleproxyDocument | None = None) -> list[Problem]:
    """What time alone has made wrong, but for what runs already."""
    return list(certificates.lapsed(document, running))


def warnings(document: ConsoleproxyDocument) -> list[Problem]:
    """What isn't as it should be in a document that runs."""
    return list(certificates.lapsed(document, None))


def problems(
    document: ConsoleproxyDocument, known_good: ConsoleproxyDocument | None = None
) -> list[Problem]:
    """All that is wrong. What is unchanged since `known_good`, which had no problems, isn't looked at."""
    found: list[Problem] = []
    for check, read in CHECKS.items():
        if known_good is None or not all(
            unchanged(getattr(document, section), getattr(known_good, section)) for section in read
        ):
            found += check(document)
    return found
