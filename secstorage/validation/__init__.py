"""What a model can't say about a document of secondary storage: rules across its sections, each broken one a
sentence. One module per noun names the sections it reads, and is asked again only when one has changed."""

from collections.abc import Callable, Iterator, Mapping

from appliance.memo import unchanged
from appliance.model import Problem
from secstorage.document import SecstorageDocument
from secstorage.validation import interfaces, sources, stores

Check = Callable[[SecstorageDocument], Iterator[Problem]]

CHECKS: Mapping[Check, tuple[str, ...]] = {
    interfaces.problems: ("interfaces", "routes"),
    stores.problems: ("stores",),
    sources.problems: ("sources",),
}


def problems(document: SecstorageDocument, known_good: SecstorageDocument | None = None) -> list[Problem]:
    """All that is wrong. What is unchanged since `known_good`, which had no problems, isn't looked at."""
    found: list[Problem] = []
    for check, read in CHECKS.items():
        if known_good is None or not all(
            unchanged(getattr(document, section), getattr(known_good, section)) for section in read
        ):
            found += check(document)
    return found
