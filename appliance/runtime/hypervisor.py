"""A hypervisor, by libvirt: a connection, and what can be said of the host behind it.

URIs are libvirt's (https://libvirt.org/uri.html): `qemu:///system` is this host, `qemu+ssh://root@host/system`
another, `xen:///system` one with Xen.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from appliance.runtime.binding import libvirt
from appliance.runtime.domain import Kind
from appliance.runtime.runtime import MachineError

_MISSING = "virtual machines need libvirt's Python binding: `make vm-deps`, or `pip install libvirt-python`"


@dataclass(frozen=True, kw_only=True)
class Hypervisor:
    """Connects when it is first asked something. All of it raises MachineError with libvirt's words."""

    uri: str
    _kept: list[Any] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def connection(self) -> Any:
        """The connection that is there while it answers, else a new one: a libvirtd may be restarted, and a
        way through ssh cut."""
        if libvirt is None:
            raise MachineError(_MISSING)
        with self._lock:
            if not self._kept or not _answers(self._kept[0]):
                self._kept[:] = [self._opened()]
            return self._kept[0]

    def _opened(self) -> Any:
        # Errors are raised; without this they are on standard error, too.
        libvirt.registerErrorHandler(_silent, None)
        with said(f"The hypervisor {self.uri} can't be reached"):
            return libvirt.open(self.uri)

    @cached_property
    def is_xen(self) -> bool:
        return str(self.connection.getType()).lower() == "xen"

    def offers(self, kind: Kind) -> bool:
        """Whether libvirt offers to run machines so; that they run is another matter."""
        with said("What the hypervisor can do isn't known"):
            capabilities = parsed(self.connection.getCapabilities())
        wanted = f"guest[os_type='hvm']/arch[@name='x86_64']/domain[@type='{kind}']"
        return capabilities.find(wanted) is not None

    def identity(self) -> str:
        """What facts about this host are kept under; other versions of libvirt or QEMU make it another."""
        with said("The hypervisor doesn't say what it is"):
            version, library = self.connection.getVersion(), self.connection.getLibVersion()
            return f"{self.connection.getHostname()} {self.connection.getType()} {version} {library}"

    def domain(self, full: str) -> Any | None:
        """libvirt's own object of a machine, or None where there is none of this name."""
        connection = self.connection
        try:
            return connection.lookupByName(full)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise MachineError(f"{full}: {_words(error)}") from error

    def domains(self, prefix: str) -> list[str]:
        """The names of the machines that begin so, running or not, sorted."""
        with said("The hypervisor doesn't list its machines"):
            return sorted(
                domain.name()
                for domain in self.connection.listAllDomains()
                if domain.name().startswith(prefix)
            )


def _answers(connection: Any) -> bool:
    try:
        connection.getLibVersion()
    except libvirt.libvirtError:
        return False
    return True


def parsed(text: str) -> Element:
    """What libvirt describes. It is as much to be trusted as the host itself."""
    return fromstring(text)  # noqa: S314


@contextmanager
def said(what: str) -> Iterator[None]:
    """Raises MachineError, `what` and libvirt's words, for an error of libvirt's."""
    try:
        yield
    except Exception as error:
        # Without the binding there is no such class, and another error says so.
        if libvirt is None or not isinstance(error, libvirt.libvirtError):
            raise
        raise MachineError(f"{what}: {_words(error)}") from error


def _words(error: Any) -> str:
    return str(error.get_error_message() or error)


def _silent(context: object, error: object) -> None:
    pass
