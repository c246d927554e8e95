"""Time from NTP servers, by systemd-timesyncd(8). A container has its host's: its unit does nothing."""

from collections.abc import Iterator

from appliance.checks import Check, NtpCheck
from appliance.document import Document
from appliance.resources import File, Resource, Unit
from appliance.template import render

_UNIT = "sysvm-time.service"
_CONF = "/run/sysvm/time/timesyncd.conf"


def resources(document: Document) -> Iterator[Resource]:
    if document.ntp is None:
        return
    text = render("timesyncd/timesyncd.conf.j2", servers=document.ntp.servers)
    yield File(path=_CONF, content=text)
    yield Unit(name=_UNIT, restart_on=(_CONF,))


def checks(document: Document) -> Iterator[Check]:
    if document.ntp is not None:
        yield NtpCheck(name="time", servers=tuple(document.ntp.servers))
