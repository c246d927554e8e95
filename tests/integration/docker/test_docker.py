"""The container image under a real engine, started by the compose file that users copy."""

import pytest
from docker_network import OUTSIDE, PUBLIC, SITE, Network, host, until

HEALTH = "/usr/lib/sysvm-container/health"


def serves(network: Network) -> None:
    """What a guest and the world get from a router that runs its document."""
    until(network.runs)
    assert network.run("web", "dig", "+short", "database.cs1.example", "@10.1.1.1") == "10.1.1.11"
    assert network.ask("web", SITE) == PUBLIC


def test_it_boots_wholly_without_being_privileged(network: Network) -> None:
    assert network.run("router", "systemctl", "is-system-running") == "running"
    assert network.inspect("router", "{{.HostConfig.Privileged}}") == "false"
    assert "Listening on 192.168.255.2/24" in network.engine.docker("logs", network.container("router"))


def test_only_boot_data_and_document_give_addresses(network: Network) -> None:
    """The engine had given each card one, and a default route by the control network."""
    addresses = network.run("router", "ip", "-brief", "-4", "address", "show", "scope", "global")
    assert sorted(line.split()[0].partition("@")[0] for line in addresses.splitlines()) == [
        "control0",
        "guest0",
        "public0",
    ]
    assert sorted(word for word in addresses.split() if "/" in word) == [
        "10.1.1.1/24",
        "169.254.169.254/32",
        "192.168.255.2/24",
        "203.0.113.5/24",
        "203.0.113.6/24",
    ]
    routes = network.run("router", "ip", "route", "show", "default")
    assert routes.startswith("default via 203.0.113.1 dev public0")
    assert len(routes.splitlines()) == 1


def test_a_stock_guest_gets_its_lease_and_its_data(network: Network) -> None:
    addresses = network.run("web", "ip", "-brief", "-4", "address", "show", "dev", "eth0")
    assert addresses.split()[2:3] == ["10.1.1.10/24"]
    assert "default via 10.1.1.1 dev eth0" in network.run("web", "ip", "route")
    assert network.run("web", "cloud-init", "query", "instance_id") == "i-web"
    assert "DataSourceCloudStack" in network.run("web", "cloud-init", "status", "--long")


def test_names_of_guests_and_of_the_world(network: Network) -> None:
    assert network.run("web", "dig", "+short", "www.cs1.example", "@10.1.1.1").splitlines() == [
        "web.cs1.example.",
        "10.1.1.10",
    ]
    assert network.run("web", "dig", "+short", "www.example.net", "@10.1.1.1") == SITE


def test_translation_both_ways(network: Network) -> None:
    assert network.ask("web", SITE) == PUBLIC
    network.engine.docker("exec", "--detach", network.container("web"), "python3", "/who_asks.py")
    assert until(lambda: network.ask_from_outside(PUBLIC, 8080)) == OUTSIDE


def test_a_guest_has_no_way_but_the_router(network: Network) -> None:
    """Docker's host has no address on the guests' network, so none to be used as a gateway."""
    network.run("web", "ip", "route", "replace", "203.0.113.80/32", "via", "10.1.1.254", "dev", "eth0")
    with pytest.raises(AssertionError, match=r"No route to host|timed out"):
        network.ask("web", SITE)
    network.run("web", "ip", "route", "delete", "203.0.113.80/32")
    assert network.ask("web", SITE) == PUBLIC


def test_health_is_the_agents_own(network: Network) -> None:
    until(lambda: network.inspect("router", "{{.State.Health.Status}}") == "healthy")
    assert network.run("router", HEALTH) == "Generation 1 runs"
    # One that runs and doesn't answer, which only asking finds.
    network.run("router", "systemctl", "kill", "--signal=STOP", "sysvm-dnsmasq@guest0")
    assert not network.get("/v1/health?fresh")["ok"]
    with pytest.raises(AssertionError, match="didn't answer a DNS query"):
        network.run("router", HEALTH)
    network.run("router", "systemctl", "kill", "--signal=CONT", "sysvm-dnsmasq@guest0")
    assert until(lambda: network.get("/v1/health?fresh")["ok"])
    network.run("router", "systemctl", "stop", "sysvm-agent")
    with pytest.raises(AssertionError, match="The agent doesn't answer"):
        network.run("router", HEALTH)
    network.run("router", "systemctl", "start", "sysvm-agent")
    serves(network)


def test_stop_is_clean_and_a_start_serves_again(network: Network) -> None:
    """Asked by the signal that the image names; an engine that had to kill it would say 137."""
    router = network.container("router")
    network.engine.docker("stop", router)
    assert network.inspect("router", "{{.State.ExitCode}} {{.State.OOMKilled}}") != "137 false"
    network.engine.docker("start", router)
    serves(network)
    network.engine.docker("restart", router)
    serves(network)


def test_a_kill_costs_nothing(network: Network) -> None:
    router = network.container("router")
    network.engine.docker("kill", router)
    network.engine.docker("start", router)
    serves(network)


def test_a_new_container_takes_over_the_state(network: Network) -> None:
    """The volume has all of it: nobody pushes anything."""
    before = network.inspect("router", "{{.Id}}")
    network.compose.execute("rm --stop --force router")
    network.compose.execute("up --detach --wait router")
    assert network.inspect("router", "{{.Id}}") != before
    serves(network)
    assert "02:00:0a:01:01:0a 10.1.1.10 web" in network.run("router", "cat", "/var/lib/sysvm/leases/guest0")


def test_the_host_of_the_tests_is_as_it_was(network: Network, host_before: str) -> None:
    """While all of it runs: Docker's rules and routes are in the engine's own network namespace."""
    assert "chain DOCKER" in network.rules()
    assert host() == host_before
