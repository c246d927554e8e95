"""DHCP and DNS: one dnsmasq per guest network (dnsmasq(8)).

Guests are records in watched directories: one more is picked up without a signal, a changed or removed one
by a reload (SIGHUP), which drops no query. Only a change of the network's own settings restarts its server.
"""

from collections.abc import Iterator

from appliance.checks import Check, DhcpCheck, DnsCheck
from appliance.memo import per_sections
from appliance.resources import ChecksumFill, File, Leases, Records, Resource, Unit
from appliance.template import render
from router import dhcp, dns
from router.document import RouterDocument
from router.network import guest_networks

_DIRECTORY = "/run/sysvm/dnsmasq"
_LEASES = "/var/lib/sysvm/leases"
_CHECK = ("dnsmasq", "--test", "--conf-file={}")


def resources(document: RouterDocument) -> Iterator[Resource]:
    yield from _resources(document)


@per_sections("name", "interfaces", "dhcp", "dns")
def _resources(document: RouterDocument) -> tuple[Resource, ...]:
    return tuple(_made(document))


def _made(document: RouterDocument) -> Iterator[Resource]:
    for network in guest_networks(document):
        leases, names = document.dhcp.get(network.link), document.dns.get(network.link)
        if leases is None and names is None:
            continue
        directory = f"{_DIRECTORY}/{network.link}"
        conf = f"{directory}/dnsmasq.conf"
        text = render(
            "dnsmasq/dnsmasq.conf.j2",
            network=network,
            directory=directory,
            leases=_LEASES,
            dhcp=leases,
            dns=names,
            reverse_zones=dns.reverse_zones(network),
            ranges=list(dhcp.ranges(leases, network)) if leases is not None else [],
        )
        yield File(path=conf, content=text, check=_CHECK)
        reload_on = []
        if names is not None:
            servers = f"{directory}/servers"
            yield File(
                path=servers,
                content=dns.servers(document, network),
                check=("dnsmasq", "--test", "--conf-file=/dev/null", "--servers-file={}"),
            )
            yield Records(path=f"{directory}/hosts", records=dns.hosts(document, network))
            reload_on += [servers, f"{directory}/hosts/base"]
        if leases is not None:
            yield ChecksumFill(link=network.link, source=network.address)
            yield Records(
                path=f"{directory}/dhcp-options",
                records=dhcp.options(leases, network, names),
                check=_CHECK,
                check_prefix="dhcp-option=",
            )
            yield Records(path=f"{directory}/dhcp-hosts", records=dhcp.hosts(leases, network, names))
            yield Leases(
                link=network.link,
                server=network.address,
                path=f"{_LEASES}/{network.link}",
                holders={item.address: mac for mac, item in leases.reservations.items()},
                further=tuple((subnet.cidr, subnet.address) for subnet in network.further),
            )
            reload_on += [f"{directory}/dhcp-options/base", f"{directory}/dhcp-hosts/base"]
        yield Unit(
            name=f"sysvm-dnsmasq@{network.link}.service",
            restart_on=(conf,),
            reload_on=tuple(reload_on),
            links=(network.link,),
        )


def checks(document: RouterDocument) -> Iterator[Check]:
    for network in guest_networks(document):
        names = document.dns.get(network.link)
        for address in network.addresses:
            at = network.link if address == network.address else f"{network.link} {address}"
            if names is not None:
                yield DnsCheck(
                    name=f"dns {at}",
                    server=address,
                    query=f"{document.name}.{names.domain}",
                    expected=address,
                )
            if network.link in document.dhcp:
                yield DhcpCheck(name=f"dhcp {at}", link=network.link, address=address)
