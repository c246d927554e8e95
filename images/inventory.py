"""What is in an image: Debian's packages by dpkg, Python's distributions by their metadata."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from images import libraries


@dataclass(frozen=True, order=True, slots=True)
class Component:
    kind: str
    """`deb` or `pypi`, as in package URLs (purl)."""
    name: str
    version: str
    architecture: str = ""
    license: str = ""
    """An SPDX expression, where the component says one."""


def components(tree: Path) -> list[Component]:
    """Of the tree of a machine or container, sorted."""
    return sorted([*debian(tree), *python(tree)])


def debian(tree: Path) -> Iterator[Component]:
    for stanza in (tree / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = HeaderParser().parsestr(stanza.lstrip("\n"))
        if fields["Status"] == "install ok installed":
            yield Component("deb", fields["Package"], fields["Version"], fields["Architecture"])


def python(tree: Path) -> Iterator[Component]:
    for metadata in (tree / libraries.PLACE).glob("*.dist-info/METADATA"):
        fields = HeaderParser().parsestr(metadata.read_text())
        yield Component(
            "pypi", normalized(fields["Name"]), fields["Version"], license=fields["License-Expression"] or ""
        )


def normalized(name: str) -> str:
    """As package URLs and the index write it."""
    return name.lower().replace("_", "-")


def versions(found: list[Component], kind: str) -> Mapping[str, str]:
    return {component.name: component.version for component in found if component.kind == kind}
