"""libvirt's Python binding: of Debian's package or from PyPI, or none where machines are never virtual."""

from importlib import import_module
from typing import Any

try:
    libvirt: Any = import_module("libvirt")
    libvirt_qemu: Any = import_module("libvirt_qemu")
except ImportError:
    libvirt = libvirt_qemu = None
