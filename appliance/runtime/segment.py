"""Segments: the cloud's layer 2 networks, bridges in one namespace of their own per cloud (its switch).

Nothing of them is on the host: with the namespace the bridges and all ends of cables go.
"""

import hashlib
from collections.abc import Sequence

from appliance.runtime import namespace
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Interface


class Switch:
    def __init__(self, cloud: str) -> None:
        self.cloud = cloud
        self.namespace = full_name(cloud, "switch")

    def up(self, segments: Sequence[str]) -> None:
        """Have these segments; those that are there already stay as they are."""
        if not namespace.exists(self.namespace):
            namespace.create(self.namespace)
            # A switch forwards frames; it has no addresses of its own, link-local ones neither.
            off = {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}
            namespace.sysctl(self.namespace, off)
        with namespace.opened(self.namespace) as links:
            for segment in segments:
                if not links.link_lookup(ifname=segment):
                    # No spanning tree and no delay: a port forwards when it is plugged in. No multicast
                    # snooping: without a querier it would drop what it hasn't heard anybody ask for.
                    bridge = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0}
                    links.link("add", ifname=segment, kind="bridge", **bridge)
                    links.link("set", index=links.link_lookup(ifname=segment)[0], state="up")

    def segments(self) -> list[str]:
        """The segments that exist, sorted."""
        if not namespace.exists(self.namespace):
            return []
        with namespace.opened(self.namespace) as links:
            return sorted(link.get_attr("IFLA_IFNAME") for link in links.get_links(kind="bridge"))

    def plug(self, interface: Interface, *, into: str, name: str) -> None:
        """Give the namespace `into` an interface of this name on a segment. It is left down: its owner
        configures it. Raises ValueError for an unknown segment."""
        port = port_name(into, interface.mac)
        with namespace.opened(self.namespace) as links:
            bridge = links.link_lookup(ifname=interface.segment)
            if not bridge:
                raise ValueError(f"{into}: no segment {interface.segment} in cloud {self.cloud}")
            # The far end of a cable that was pulled goes asynchronously, after its namespace.
            for stale in links.link_lookup(ifname=port):
                links.link("del", index=stale)
            end = {"ifname": name, "address": interface.mac, "net_ns_fd": into}
            links.link("add", ifname=port, kind="veth", peer=end)
            links.link("set", index=links.link_lookup(ifname=port)[0], master=bridge[0], state="up")


def port_name(owner: str, mac: str) -> str:
    """What the switch's end of a cable is called: 15 characters at most, different for each."""
    return "p" + hashlib.sha256(f"{owner}/{mac}".encode()).hexdigest()[:12]
