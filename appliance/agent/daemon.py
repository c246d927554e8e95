"""The agent's life: converge to the stored document first, then serve the API."""

import asyncio
import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any

from appliance import boot as boot_data
from appliance import roles
from appliance.agent import capability, clock, local
from appliance.agent.controller import Controller
from appliance.agent.endpoints import Endpoints
from appliance.agent.health import Health
from appliance.agent.next_hops import NextHops
from appliance.agent.notify import notify
from appliance.agent.seal import Sealer
from appliance.agent.store import Store
from appliance.agent.usage import Usage
from appliance.agent.vpn.ipsec import Ipsec
from appliance.agent.vpn.l2tp import L2tp
from appliance.agent.vpn.session import Session
from appliance.checks import Check
from appliance.engine.host import Host
from appliance.model import RefusedError

log = logging.getLogger("sysvm")
_DRIFT_SECONDS = 20.0
_USAGE_SECONDS = 60.0
_BIND_SECONDS = 1.0
_UNUSABLE_SECONDS = 0.5
"""Between two looks at boot data that can't be used; longer would hold up the machine's boot."""


def run() -> None:
    """Until SIGTERM. Exits with status 1 where there is no boot data to live by."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        boot = boot_data.read()
        roles.role(boot.role)
    except FileNotFoundError:
        log.error("No boot data: waiting for the credential %s", boot_data.CREDENTIAL)
        sys.exit(1)
    except (RefusedError, roles.UnknownRoleError) as error:
        log.error("The boot data can't be used: %s", error)
        time.sleep(_UNUSABLE_SECONDS)
        sys.exit(1)
    host = Host()
    host.state.mkdir(parents=True, exist_ok=True)
    clock.advance(boot)
    controller = Controller(
        boot=boot, host=host, store=Store(host.persistent), sealer=Sealer.of(host.persistent)
    )
    # A host of its own: a reading mustn't get between the engine and its connection to the kernel.
    tunnels = Ipsec(lambda: controller.wanted, controller.heal)
    l2tp = L2tp(lambda: controller.wanted)
    usage = Usage(Host(), host.persistent / "usage.json", tunnels.read, l2tp.read)
    host.read_counters = usage.save
    controller.start()
    log.info("Generation %d is %s", controller.running.generation, controller.state)

    def checks() -> list[Check]:
        return list(roles.role(boot.role).checks(controller.running))

    def condition() -> dict[str, Any]:
        return local.condition(
            generation=controller.running.generation,
            state=controller.state,
            detail=controller.detail,
            results=health.results(),
        )

    health = Health(checks)
    # Guests are served by now. What the API takes to import takes long, and so does the kernel, which loads
    # a module for some of what it is asked whether it can do; nobody else asks nft by that connection yet.
    with ThreadPoolExecutor(1) as pool:
        capabilities = pool.submit(capability.probe, host.nft)
        from appliance.agent import api, server

    def sessions() -> list[Session]:
        return [*tunnels.sessions(), *l2tp.sessions()]

    app = api.create(controller, health, usage, capabilities.result(), sessions)
    # What there is now stays: a collection needn't look at it ever.
    gc.freeze()
    gc.enable()
    threading.Thread(target=controller.watch, args=(_DRIFT_SECONDS,), daemon=True).start()
    threading.Thread(target=health.watch, daemon=True).start()
    threading.Thread(target=tunnels.watch, daemon=True).start()
    threading.Thread(target=_keep_usage, args=(usage,), daemon=True).start()
    threading.Thread(target=Endpoints(Host()).watch, daemon=True).start()
    hops = NextHops(host, lambda: controller.wanted, controller.adjust)
    threading.Thread(target=hops.watch, daemon=True).start()
    local.serve(condition)
    _serve(partial(server.run, app, boot), boot.control.address)
    usage.save()


def _serve(listen: Callable[..., None], address: str) -> None:
    stop = asyncio.Event()
    loop_of_stop: list[asyncio.AbstractEventLoop] = []

    def ready() -> None:
        loop_of_stop[:] = [asyncio.get_running_loop()]
        log.info("Listening on %s", address)
        notify("READY=1")

    def terminate(number: int, frame: FrameType | None) -> None:
        for loop in loop_of_stop:
            loop.call_soon_threadsafe(stop.set)
        if not loop_of_stop:
            sys.exit(0)

    signal.signal(signal.SIGTERM, terminate)
    while not stop.is_set():
        try:
            listen(stop=stop, ready=ready)
        except OSError as error:
            # The control card may be plugged in later than the agent starts.
            log.error("Can't listen yet: %s", error)
            time.sleep(_BIND_SECONDS)


def _keep_usage(usage: Usage) -> None:
    while True:
        time.sleep(_USAGE_SECONDS)
        try:
            usage.save()
        except Exception:
            log.exception("Failed to keep the traffic totals")
