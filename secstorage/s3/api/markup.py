"""XML as S3 writes and reads it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree import ElementTree

from secstorage.s3.error import S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_ESCAPED = {
    # XML 1.0 has no way to say most of these; S3 writes them like this all the same.
    **{code: f"&#x{code:X};" for code in (*range(32), 0x7F, 0xFFFE, 0xFFFF) if code not in (9, 10)},
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
}


def escape(text: str) -> str:
    return text.translate(_ESCAPED)


def element(tag: str, content: object) -> str:
    """With text in it."""
    return f"<{tag}>{escape(str(content))}</{tag}>"


def group(tag: str, parts: Iterable[str]) -> str:
    """With elements in it."""
    return f"<{tag}>{''.join(parts)}</{tag}>"


def document(tag: str, parts: Iterable[str]) -> bytes:
    return f'{DECLARATION}<{tag} xmlns="{NAMESPACE}">{"".join(parts)}</{tag}>'.encode()


def timestamp(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{int(seconds * 1000) % 1000:03}Z"
    )


def owner(name: str, tag: str = "Owner") -> str:
    return group(tag, [element("ID", name), element("DisplayName", name)])


class Node:
    """An element that was read: by the names of its children, whatever their namespace."""

    def __init__(self, inner: ElementTree.Element) -> None:
        self._inner = inner
        self.name = inner.tag.rpartition("}")[2]

    def all(self, name: str) -> list["Node"]:
        return [node for each in self._inner if (node := Node(each)).name == name]

    def child(self, name: str) -> "Node | None":
        found = self.all(name)
        if len(found) > 1:
            raise S3Error("MalformedXML")
        return found[0] if found else None

    def children(self) -> list["Node"]:
        return [Node(each) for each in self._inner]

    def text(self, name: str, default: str | None = None) -> str:
        """Of a child. Raises S3Error if there is none, and no default."""
        found = self.child(name)
        if found is None:
            if default is None:
                raise S3Error("MalformedXML")
            return default
        return found.value

    def attribute(self, name: str) -> str:
        """By its name without namespace."""
        return next((text for key, text in self._inner.attrib.items() if key.rpartition("}")[2] == name), "")

    @property
    def value(self) -> str:
        return self._inner.text or ""


def parse(content: bytes, *names: str) -> Node:
    """Raises S3Error if it isn't XML, or its root has none of the names."""
    try:
        text = content.decode()
        # A document type could define entities that grow without bound, or read files.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise S3Error("MalformedXML")
        root = Node(ElementTree.fromstring(text))  # noqa: S314
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError):
        raise S3Error("MalformedXML") from None
    if root.name not in names:
        raise S3Error("MalformedXML")
    return root
