"""The disks of virtual machines: volumes of a libvirt storage pool, a directory on the host where they run.

https://libvirt.org/formatstorage.html. All goes through libvirt, so that a host is the same near or far.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from appliance.runtime.binding import libvirt
from appliance.runtime.domain import Disk, Form
from appliance.runtime.hypervisor import Hypervisor, said
from appliance.runtime.runtime import MachineError

POOL = "sysvm"
PLACE = "/var/lib/libvirt/images/sysvm"
_CHUNK = 1024 * 1024
_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The volumes in the directory `place` of the hypervisor's host. All of it raises MachineError."""

    hypervisor: Hypervisor
    place: str = PLACE

    def disk(
        self,
        name: str,
        *,
        form: Form = "qcow2",
        read_only: bool = False,
        serial: str | None = None,
    ) -> Disk:
        return Disk(path=f"{self.place}/{name}", form=form, read_only=read_only, serial=serial)

    def names(self, prefix: str = "") -> list[str]:
        pool = self._pool()
        if pool is None:
            return []
        with said("The storage pool can't be listed"):
            return sorted(name for name in pool.listVolumes() if name.startswith(prefix))

    def exists(self, name: str) -> bool:
        """Whether there is a volume, written to its end."""
        return f"{name}.whole" in self.names(name)

    def image(self, source: Path) -> str:
        """The name of the volume with the disk image `source` (qcow2), written if it isn't there."""
        name = f"image-{_digest(source)[:20]}.qcow2"
        if not self.exists(name):
            self.remove(name)
            self._upload(name, source)
            self._whole(name)
        return name

    def overlay(self, name: str, *, image: str, size: int) -> None:
        """Have a new volume that is what `image` is until it is written, `size` MiB at least."""
        self.remove(name)
        volume = _volume(name, capacity=max(size * _MIB, self._capacity(image)))
        backing = SubElement(volume, "backingStore")
        SubElement(backing, "path").text = f"{self.place}/{image}"
        SubElement(backing, "format", type="qcow2")
        self._create(volume)

    def blank(self, name: str, *, size: int) -> None:
        """Have a volume of `size` MiB; one that is there already stays as it is."""
        if name not in self.names(name):
            self._create(_volume(name, capacity=size * _MIB))

    def write(self, name: str, content: bytes) -> None:
        """Have a volume of this content, whatever it was."""
        self.remove(name)
        with said(f"The volume {name} can't be written"):
            volume = self._create(_volume(name, capacity=len(content), form="raw"))
            stream = self.hypervisor.connection.newStream()
            volume.upload(stream, 0, len(content))
            _send(stream, iter([content]))

    def copy(self, name: str, to: str) -> None:
        """Have a volume `to` with what `name` has."""
        self.remove(to)
        with said(f"The volume {name} can't be copied to {to}"):
            source = self._volume(name)
            if source is None:
                raise MachineError(f"There is no volume {name}")
            description = tostring(_volume(to, capacity=source.info()[1]), encoding="unicode")
            self._pool().createXMLFrom(description, source)
        self._whole(to)

    def remove(self, name: str) -> None:
        """None there is fine."""
        for each in (f"{name}.whole", name):
            volume = self._volume(each)
            if volume is not None:
                with said(f"The volume {each} can't be removed"):
                    volume.delete()

    def clear(self, prefix: str) -> None:
        """Remove all volumes whose names begin so."""
        for name in self.names(prefix):
            self.remove(name.removesuffix(".whole"))

    # --- with libvirt -------------------------------------------------------------------------------

    def _pool(self, *, make: bool = False) -> Any:
        connection = self.hypervisor.connection
        try:
            pool = connection.storagePoolLookupByName(POOL)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise MachineError(f"The storage pool {POOL}: {error}") from error
            if not make:
                return None
            pool = self._make_pool()
        with said(f"The storage pool {POOL} can't be used"):
            if not pool.isActive():
                pool.create()
            # What others wrote beside us.
            pool.refresh()
        return pool

    def _make_pool(self) -> Any:
        root = Element("pool", type="dir")
        SubElement(root, "name").text = POOL
        target = SubElement(root, "target")
        SubElement(target, "path").text = self.place
        with said(f"The storage pool {POOL} can't be made"):
            pool = self.hypervisor.connection.storagePoolDefineXML(tostring(root, encoding="unicode"))
            pool.build()
            pool.setAutostart(1)
        return pool

    def _volume(self, name: str) -> Any:
        pool = self._pool()
        if pool is None or name not in pool.listVolumes():
            return None
        with said(f"The volume {name}"):
            return pool.storageVolLookupByName(name)

    def _whole(self, name: str) -> None:
        # libvirt can't rename a volume: what says that one was written to its end is another.
        self._create(_volume(f"{name}.whole", capacity=0, form="raw"))

    def _create(self, volume: Element) -> Any:
        with said(f"The volume {volume.findtext('name')} can't be made"):
            return self._pool(make=True).createXML(tostring(volume, encoding="unicode"))

    def _capacity(self, name: str) -> int:
        with said(f"The volume {name}"):
            return int(self._volume(name).info()[1])

    def _upload(self, name: str, source: Path) -> None:
        size = source.stat().st_size
        # As bytes: a raw volume takes them as they are, and what they mean is said when it is used.
        volume = self._create(_volume(name, capacity=size, form="raw"))
        with said(f"{source} can't be written to the host"), source.open("rb") as file:
            stream = self.hypervisor.connection.newStream()
            volume.upload(stream, 0, size)
            _send(stream, iter(lambda: file.read(_CHUNK), b""))


def _volume(name: str, *, capacity: int, form: str = "qcow2") -> Element:
    root = Element("volume")
    SubElement(root, "name").text = name
    SubElement(root, "capacity", unit="bytes").text = str(capacity)
    SubElement(root, "allocation").text = "0"
    target = SubElement(root, "target")
    SubElement(target, "format", type=form)
    permissions = SubElement(target, "permissions")
    SubElement(permissions, "mode").text = "0600"
    return root


def _send(stream: Any, chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        sent = 0
        while sent < len(chunk):
            sent += stream.send(chunk[sent:])
    stream.finish()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
