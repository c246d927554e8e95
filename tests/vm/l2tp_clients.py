"""Clients by L2TP in IPsec, each in a network namespace of one virtual machine, which is the NAT that they
are behind. The machine is a router's own image, for it has all that they need: a strongSwan, an xl2tpd and a
pppd for each, set up by hand."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.vm.emulated import Emulated
from tests.vm.tap import card

MAC = "02:00:cb:00:71:50"
NAT = "203.0.113.50"
_SETUP = """
systemctl stop sysvm-agent
nft flush ruleset
echo 1 > /proc/sys/net/ipv4/ip_forward
link=$(grep -l {mac} /sys/class/net/*/address | cut -d / -f 5)
ip link set "$link" up
ip address add {nat}/24 dev "$link"
nft "table ip nat {{ chain p {{ type nat hook postrouting priority 100; }}; }}"
nft "add rule ip nat p oifname $link ip saddr 172.30.0.0/16 masquerade"
echo 1 > "/proc/sys/net/ipv4/conf/$link/proxy_arp"
"""
_NAMESPACE = """
ip netns add {name}
ip link add {name}-out type veth peer name eth0 netns {name}
ip address add 172.30.{number}.1/24 dev {name}-out
ip link set {name}-out up
ip -n {name} address add 172.30.{number}.2/24 dev eth0
ip -n {name} link set lo up
ip -n {name} link set eth0 up
ip -n {name} route add default via 172.30.{number}.1
mkdir -p /run/{name}/swanctl
"""
# With a public address of its own, which the machine answers for.
_PUBLIC = """
ip -n {name} address add {address}/32 dev eth0
ip -n {name} route replace default via 172.30.{number}.1 src {address}
ip route add {address} dev {name}-out
"""
_STRONGSWAN = """
charon-systemd {{
    load = random nonce openssl kdf kernel-netlink socket-default vici
    retransmit_timeout = 4.0
    retransmit_tries = 3
    plugins {{
        vici {{
            socket = unix:///run/{name}/vici.sock
        }}
    }}
    filelog {{
        log {{
            path = /run/{name}/charon.log
            flush_line = yes
        }}
    }}
}}
"""
_SWANCTL = """
connections {{
  vpn {{
    version = 1
    remote_addrs = {server}
    proposals = aes256-sha1-modp2048
    local {{
      auth = psk
    }}
    remote {{
      auth = psk
    }}
    children {{
      l2tp {{
        mode = transport
        local_ts = dynamic[udp/1701]
        remote_ts = dynamic[udp/1701]
        esp_proposals = aes256-sha1
      }}
    }}
  }}
}}
secrets {{
  ike-vpn {{
    secret = "{psk}"
  }}
}}
"""
_XL2TPD = """
[global]
port = 1701
[lac vpn]
lns = {server}
pppoptfile = /run/{name}/options
redial = yes
redial timeout = 3
"""
_OPTIONS = """
name {user}
password {password}
noauth
noccp
noipv6
nodefaultroute
usepeerdns
mtu 1360
mru 1360
ip-up-script /run/{name}/up
ip-down-script /bin/true
logfile /run/{name}/ppp.log
"""
_UP = """#!/bin/sh
ip route add {reached} dev "$1"
echo "$4 $DNS1" > /run/{name}/ready
"""
_SEND = """
import socket
sender = socket.socket(type=socket.SOCK_DGRAM)
sender.bind(("{source}", 0))
sender.sendto(b"x", ("{to}", {port}))
"""
_ASK = """
import socket
asking = socket.socket(type=socket.SOCK_DGRAM)
asking.bind(("", 1701))
asking.settimeout(20)
asking.sendto(bytes.fromhex("{content}"), ("{server}", 1701))
asking.recv(2048)
"""


@dataclass
class L2tpClients:
    machine: Emulated
    names: Sequence[str]
    public: Mapping[str, str] = field(default_factory=dict)
    """Addresses of those that are behind no NAT."""

    def start(self, tap: int) -> None:
        self.machine.start(*card(tap, identity="public0", mac=MAC), files=(tap,))
        self.machine.wait_until_it_answers()
        self.sh(_SETUP.format(mac=MAC, nat=NAT))
        for number, name in enumerate(self.names):
            self.sh(_NAMESPACE.format(name=name, number=number))
            if address := self.public.get(name):
                self.sh(_PUBLIC.format(name=name, number=number, address=address))

    def sh(self, script: str) -> str:
        return self.machine.run("/bin/sh", "-ec", script)

    def inside(self, name: str, command: str) -> str:
        """What a command in a client's namespace prints."""
        return self.sh(f"ip netns exec {name} {command}")

    def does(self, name: str, command: str) -> bool:
        """Whether it succeeds."""
        said = self.sh(
            f"if ip netns exec {name} {command} > /dev/null 2>&1; then echo yes; else echo no; fi"
        )
        return said.strip() == "yes"

    def protect(self, name: str, *, server: str, psk: str) -> bool:
        """Start its IKE daemon, and begin. Whether IPsec is up then."""
        self._write(f"/run/{name}/strongswan.conf", _STRONGSWAN.format(name=name))
        self._write(f"/run/{name}/swanctl/swanctl.conf", _SWANCTL.format(server=server, psk=psk))
        self._end(name, "charon")
        self.sh(
            f"rm -f /run/{name}/vici.sock; STRONGSWAN_CONF=/run/{name}/strongswan.conf ip netns exec {name} "
            f"/usr/sbin/charon-systemd > /dev/null 2>&1 & echo $! > /run/{name}/charon.pid; "
            f"until test -S /run/{name}/vici.sock; do sleep 0.1; done"
        )
        self.swanctl(name, "--load-all --noprompt")
        return self.does(name, self._swanctl(name, "--initiate --child l2tp --timeout 120"))

    def swanctl(self, name: str, words: str) -> str:
        return self.inside(name, self._swanctl(name, words))

    def dial(self, name: str, *, server: str, user: str, password: str, reached: str) -> None:
        """Start its L2TP daemon, and call."""
        quoted = '"' + password.replace("\\", "\\\\").replace('"', '\\"') + '"'
        self._write(f"/run/{name}/xl2tpd.conf", _XL2TPD.format(name=name, server=server))
        self._write(f"/run/{name}/options", _OPTIONS.format(name=name, user=user, password=quoted))
        self._write(f"/run/{name}/up", _UP.format(name=name, reached=reached))
        self._end(name, "xl2tpd")
        self.sh(
            f"chmod 755 /run/{name}/up; rm -f /run/{name}/ready /run/{name}/ppp.log /run/{name}/control; "
            f"ip netns exec {name} xl2tpd -D -c /run/{name}/xl2tpd.conf -C /run/{name}/control "
            f"-p /run/{name}/pid > /run/{name}/xl2tpd.log 2>&1 & echo $! > /run/{name}/xl2tpd.pid; "
            f"until test -p /run/{name}/control; do sleep 0.1; done; echo 'c vpn' > /run/{name}/control"
        )

    def send(self, name: str, *, source: str, to: str, port: int) -> None:
        """A datagram."""
        self.inside(name, f"python3 -c {shlex.quote(_SEND.format(source=source, to=to, port=port))}")

    def answered(self, name: str, content: bytes, *, server: str) -> bool:
        """Whether a datagram from L2TP's port to L2TP's port is; nothing else may have that."""
        text = _ASK.format(content=content.hex(), server=server)
        return self.does(name, f"python3 -c {shlex.quote(text)}")

    def given(self, name: str) -> list[str]:
        """Its own address and DNS server, once it is connected."""
        return self.sh(f"cat /run/{name}/ready 2> /dev/null || true").split()

    def refused(self, name: str) -> bool:
        """Whether its password was."""
        return "authentication failed" in self.sh(f"cat /run/{name}/ppp.log 2> /dev/null || true").lower()

    def hang_up(self, name: str) -> None:
        self._end(name, "xl2tpd")

    def _end(self, name: str, daemon: str) -> None:
        pid = f"/run/{name}/{daemon}.pid"
        self.sh(
            f"if test -e {pid}; then kill $(cat {pid}) || true; "
            f"while test -e /proc/$(cat {pid}); do sleep 0.1; done; rm {pid}; fi"
        )

    def _swanctl(self, name: str, words: str) -> str:
        return f"env SWANCTL_DIR=/run/{name}/swanctl swanctl {words} --uri unix:///run/{name}/vici.sock"

    def _write(self, path: str, content: str) -> None:
        self.sh(f"printf %s {shlex.quote(content)} > {path}")
