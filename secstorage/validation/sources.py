"""Sources: what is named is there."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from secstorage.document import SecstorageDocument


def problems(document: SecstorageDocument) -> Iterator[Problem]:
    sources = document.sources
    if sources.proxy is None or sources.proxy.credential is None:
        return
    name = sources.proxy.credential
    place = pointer("sources", "proxy", "credential")
    if name not in sources.credentials:
        yield Problem(place, f"Proxy: there is no credential {name}")
    elif sources.proxy.host not in sources.credentials[name].hosts:
        yield Problem(place, f"Proxy: credential {name} isn't for {sources.proxy.host}")
