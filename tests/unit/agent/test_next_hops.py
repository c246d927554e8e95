"""Next hops that go and come back, by what they answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance.agent import next_hops
from appliance.agent.next_hops import NextHops
from appliance.engine.host import Host
from appliance.route import NextHop, Route, Watch

WATCH = Watch("neighbour", 1.0, 3, 2)
ROUTES = (
    Route(
        destination="172.16.0.0/12",
        next_hops=(NextHop("10.1.1.2", "guest0", 3), NextHop("10.1.1.3", "guest0")),
        watch=WATCH,
    ),
    Route(destination="172.16.0.0/12", gateway="10.1.2.2", link="guest1", metric=50),
)


class World:
    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.adjusted = 0
        self.host = Host()
        self.routes = ROUTES
        self.watching = NextHops(self.host, lambda: self.routes, self._adjust, self._answers)

    def _adjust(self) -> None:
        self.adjusted += 1

    def _answers(self, link: str, gateway: str, probe: str, *, seconds: float) -> bool:
        self.asked.append(gateway)
        if gateway == "10.1.1.2" and "no link" in self.silent:
            raise OSError("No such device")
        return gateway not in self.silent

    def look(self, *seconds: float) -> frozenset[Any]:
        with ThreadPoolExecutor(2) as pool:
            for second in seconds:
                self.watching.look(pool, second)
        return frozenset(gateway for _, gateway in self.host.silent)


@pytest.fixture
def world() -> Iterator[World]:
    yield World()


def test_only_what_is_watched_is_asked_and_when_it_is_due(world: World) -> None:
    assert world.look(1, 1.5, 2) == frozenset()
    assert sorted(world.asked) == ["10.1.1.2", "10.1.1.2", "10.1.1.3", "10.1.1.3"]
    assert world.adjusted == 0


def test_some_losses_in_a_row_are_one_that_is_gone(world: World) -> None:
    world.silent = {"10.1.1.3"}
    assert world.look(1, 2) == frozenset() and world.look(3) == {"10.1.1.3"}
    assert world.adjusted == 1
    world.silent = set()
    assert world.look(4) == {"10.1.1.3"}
    world.silent = {"10.1.1.3"}
    assert world.look(5) == {"10.1.1.3"}
    world.silent = set()
    assert world.look(6) == {"10.1.1.3"} and world.look(7) == frozenset(), "two answers in a row"
    assert world.adjusted == 2


def test_a_loss_between_answers_is_nothing(world: World) -> None:
    for second in range(1, 20):
        world.silent = {"10.1.1.3"} if second % 3 else set()
        assert world.look(second) == frozenset()


def test_a_link_that_is_not_there_answers_nothing(world: World) -> None:
    world.silent = {"no link"}
    assert world.look(1, 2, 3) == {"10.1.1.2"}


def test_what_is_watched_no_more_is_silent_no_more(world: World) -> None:
    world.silent = {"10.1.1.3"}
    assert world.look(1, 2, 3) == {"10.1.1.3"}
    world.routes = ROUTES[1:]
    assert world.look(4) == frozenset()


def test_it_is_told(world: World) -> None:
    world.silent = {"10.1.1.3"}
    world.look(1, 2, 3)
    (route,) = next_hops.told(ROUTES, world.host)
    assert [(hop["gateway"], hop["weight"], hop["up"]) for hop in route["next_hops"]] == [
        ("10.1.1.2", 3, True),
        ("10.1.1.3", 1, False),
    ]
    assert [(labels["gateway"], value) for labels, value in next_hops.samples([route])] == [
        ("10.1.1.2", True),
        ("10.1.1.3", False),
    ]


def test_an_echo_request_checks_out() -> None:
    # RFC 1071: with its own checksum in it, what is summed up is nothing.
    content = bytes([8, 0, 0, 0, 1, 2, 3, 4])
    checksum = next_hops._checksum(content)
    assert next_hops._checksum(content[:2] + checksum.to_bytes(2, "big") + content[4:]) == 0
