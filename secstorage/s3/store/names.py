"""Keys as paths: which file an object is.

`photos/2024/cat.jpg` is the file `photos/2024/cat.jpg`. What a file system can't say is said with `%`:

    %25 %00             `%` and NUL
    %2E  %2E%2E         the components `.` and `..`; also the first dot of `.s3...` and `.nfs...`
    %empty              an empty component: the end of `a/`, the middle of `a//b`
    NAME%               the object NAME where NAME is a directory, too (`a` beside `a/b`)
    PIECE%~/REST        a component of more than 240 bytes, in pieces

In order of code points keys are in the order of their UTF-8, which is the order S3 lists them in.
"""

import re

KEY_BYTES = 1024
OWN = b".s3"
"""The directory in a bucket where all is that isn't an object."""
BESIDE = b"%"
CONTINUED = b"%~"
VERSIONS = b"%v"
_EMPTY = b"%empty"
_PIECE = 240
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!xn--)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def is_bucket_name(name: str) -> bool:
    """Whether S3 has buckets of this name (Amazon S3 User Guide, "Bucket naming rules")."""
    return _BUCKET.fullmatch(name) is not None


def encode(component: str) -> bytes:
    """A key's component as the name of a file, of any length."""
    if not component:
        return _EMPTY
    name = component.encode()
    if b"%" in name:
        name = name.replace(b"%", b"%25")
    if b"\0" in name:
        name = name.replace(b"\0", b"%00")
    if name[0] == 0x2E:
        if name in (b".", b".."):
            return b"%2E" * len(name)
        if name.startswith((OWN, b".nfs")):
            return b"%2E" + name[1:]
    return name


def decode(name: bytes) -> str | None:
    """The component that a name stands for; None for a file that no key can have."""
    if name == _EMPTY:
        return ""
    plain = name
    if b"%" in name:
        plain = name.replace(b"%00", b"\0").replace(b"%2E", b".").replace(b"%25", b"%")
    try:
        component = plain.decode()
    except UnicodeDecodeError:
        return None
    if plain is name and name[:1] != b".":
        return component
    return component if encode(component) == name else None


def pieces(name: bytes) -> list[bytes]:
    """A long name cut at characters, all but the last marked as continued."""
    found = []
    while len(name) > _PIECE:
        end = _PIECE
        while name[end] & 0xC0 == 0x80:
            end -= 1
        found.append(name[:end] + CONTINUED)
        name = name[end:]
    return [*found, name]


def path(key: str) -> bytes:
    """Where the object of a key is, relative to its bucket."""
    names = []
    for component in key.split("/"):
        name = encode(component)
        if len(name) > _PIECE:
            names += pieces(name)
        else:
            names.append(name)
    return b"/".join(names)


def plain(path: bytes) -> bytes:
    """The path by which an object's record is found, from the one where the object is."""
    return path[:-1] if path.endswith(BESIDE) else path
