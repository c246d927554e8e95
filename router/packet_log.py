"""The log of what rules decide about: ulogd(8) reads it from the kernel (nfnetlink_log) and writes it to the
journal, which is bounded."""

from collections.abc import Iterator

from appliance.resources import File, Resource, Unit
from appliance.template import render
from router import acl, firewall
from router.document import RouterDocument
from router.logged import LOG_GROUP

_CONF = "/run/sysvm/ulogd/ulogd.conf"
_PLUGINS = "/usr/lib/x86_64-linux-gnu/ulogd"


def resources(document: RouterDocument) -> Iterator[Resource]:
    if firewall.logged(document) or any(direction.logged for direction in acl.directions(document)):
        text = render("ulogd/ulogd.conf.j2", plugins=_PLUGINS, group=LOG_GROUP)
        yield File(path=_CONF, content=text)
        yield Unit(name="sysvm-ulogd.service", restart_on=(_CONF,))
