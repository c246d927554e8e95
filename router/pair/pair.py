"""One router's part in its pair: what it knows, what it tells keepalived, what it answers."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance import neighbour
from router.pair import answers, connections, faults, fetched, keepalived, leases, settings
from router.pair.foreign import Foreigners
from router.pair.keepalived import SilentError, State, Vrrp
from router.pair.peer import Peer
from router.pair.sessions import Sessions
from router.pair.settings import Settings
from router.pair.weights import Weights

log = logging.getLogger(__name__)
MOST_FAULTS = 5
"""Weights are such that more of them would make no difference; see templates/keepalived."""
_TICK_SECONDS = 0.5
_ASK_SECONDS = 5.0
_PROBE_SECONDS = 1.0
_SWITCH_SECONDS = 10.0


class Pair:
    def __init__(self, configuration: Path, runtime: Path) -> None:
        self._configuration, self._runtime = configuration, runtime
        self._settings = settings.read(configuration)
        self._stamp = _stamp(configuration)
        self._woken = threading.Event()
        self._state: State = "unknown"
        self._since = time.time()
        self._changes = 0
        self._vrrp: Vrrp | None = None
        self._silent = "keepalived wasn't asked yet"
        self._faults: list[str] = []
        self._weights = Weights()
        self._conflicts: list[str] = []
        self._suspected: list[str] = []
        self._resigned = False
        self._switching = threading.Lock()
        self._observer = faults.Faults(self.settings)
        self._foreigners = Foreigners(self.settings)
        self._peer = Peer(self.settings, self._hear)
        self._sessions = Sessions()

    def settings(self) -> Settings:
        return self._settings

    def run(self) -> None:
        """For ever."""
        faults.on_link_news(self._woken.set)
        for work in (self._follow, self._peer.listen, self._probe_gateways, self._look_for_others,
                     self._repeat_connections):  # fmt: skip
            threading.Thread(target=work, daemon=True).start()
        threading.Thread(target=self._peer.speak, args=(self._word,), daemon=True).start()
        answers.serve(self._answer, path=self._runtime / "pair.sock")
        asked = daemons = 0.0
        while True:
            self._read_configuration()
            moment = time.monotonic()
            if moment - asked > _ASK_SECONDS or self._state == "unknown":
                asked = moment
                self._ask()
            if moment - daemons > _TICK_SECONDS:
                daemons = moment
                self._observer.ask_daemons()
            self._judge()
            self._woken.wait(_TICK_SECONDS)
            self._woken.clear()

    # --- what keepalived is told ------------------------------------------------------------------------

    def _judge(self) -> None:
        found = self._observer.now()
        for fault in found:
            if fault not in self._faults:
                log.warning("Fault: %s", fault)
        for fault in self._faults:
            if fault not in found:
                log.info("No fault any more: %s", fault)
        self._faults = found
        primary = self._state == "primary"
        count = self._weights.count(found, primary=primary, now=time.monotonic())
        self._tell("faults", MOST_FAULTS if self._resigned else min(count, MOST_FAULTS))
        self._tell("incumbent", int(primary and not self._settings.preempt and not self._resigned))

    def _tell(self, name: str, value: int) -> None:
        path = self._runtime / name
        text = f"{value}\n"
        try:
            if path.read_text() == text:
                return
        except OSError:
            pass
        # Written in place: keepalived watches the file itself (inotify).
        path.write_text(text)

    # --- what it is ---------------------------------------------------------------------------------------

    def _follow(self) -> None:
        for state in keepalived.news(self._runtime / "notify"):
            self._become(state, time.time())

    def _ask(self) -> None:
        try:
            self._vrrp = keepalived.ask(self._runtime)
        except SilentError as error:
            self._vrrp, self._silent = None, str(error)
            self._become("unknown", time.time())
        else:
            self._become(self._vrrp.state, self._vrrp.since)

    def _become(self, state: State, since: float) -> None:
        before = self._state
        if state == before:
            return
        self._state, self._since = state, since
        if before != "unknown":
            self._changes += 1
        log.info("%s -> %s", before, state)
        self._woken.set()
        if state == "backup" and before != "unknown":
            threading.Thread(target=connections.forget, daemon=True).start()
        if state == "primary":
            threading.Thread(target=self._sessions.go_on, daemon=True).start()

    def _repeat_connections(self) -> None:
        last, primary = 0.0, False
        while True:
            became = self._state == "primary" and not primary
            primary = self._state == "primary"
            if primary and (became or time.monotonic() - last > connections.REPEAT_SECONDS):
                last = time.monotonic()
                connections.repeat()
            time.sleep(_TICK_SECONDS)

    def _probe_gateways(self) -> None:
        while True:
            self._observer.ask_gateways()
            time.sleep(self._settings.seconds / 5)

    def _look_for_others(self) -> None:
        while True:
            self._foreigners.look()
            found = self._find_conflicts() if self._state == "primary" else []
            # At a take-over both have the addresses for a moment; that is none.
            confirmed = [conflict for conflict in found if conflict in self._suspected]
            for conflict in confirmed:
                if conflict not in self._conflicts:
                    log.error("%s", conflict)
            self._suspected, self._conflicts = found, confirmed
            time.sleep(_PROBE_SECONDS)

    def _find_conflicts(self) -> list[str]:
        """Of each link one address is asked for: whoever else has it, has the others, too."""
        first: dict[str, str] = {}
        for link, text in self._settings.addresses:
            if not text.endswith(("/32", "/128")):
                first.setdefault(link, text.partition("/")[0])
        found = []
        for link, address in first.items():
            try:
                others = neighbour.answers(link, address, seconds=0.2)
            except OSError:
                continue
            found += [f"{mac} on {link} has {address}, too" for mac in sorted(others)]
        return found if self._state == "primary" else []

    # --- the other one ------------------------------------------------------------------------------------

    def _word(self) -> Mapping[str, Any]:
        current = self._settings
        return {
            "name": current.name,
            "state": self._state,
            "since": self._since,
            "priority": self._vrrp.priority if self._vrrp else None,
            "faults": self._faults,
            "leases": leases.texts(current.dhcp) if self._state == "primary" else {},
            "fetched": fetched.noted(),
            "sessions": self._sessions.word() if self._state == "primary" else {},
        }

    def _hear(self, said: Mapping[str, Any]) -> None:
        current = self._settings
        # Of another version, while the two are upgraded, it may not say it.
        sessions = said.get("sessions", {})
        if self._state != "primary" and said["state"] == "primary":
            self._sessions.learn(sessions)
        if self._state == "backup" and said["state"] == "primary":
            names: dict[str, list[str]] = {}
            for link, text in current.addresses:
                if ":" not in text:
                    names.setdefault(link, []).append(text.partition("/")[0])
            leases.adopt(said["leases"], current.dhcp, names)
            self._sessions.adopt(sessions)
        fetched.adopt(said["fetched"], current.key("fetched passwords"))

    def _is_split(self) -> bool:
        said = self._peer.said
        return self._state == "primary" and (
            bool(self._conflicts) or (said is not None and said["state"] == "primary")
        )

    # --- questions ----------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        said = self._peer.said
        return {
            "state": self._state,
            "since": self._since,
            "changes": self._changes,
            "priority": self._vrrp.priority if self._vrrp else None,
            "faults": self._faults,
            "peer": {
                "name": self._settings.peer,
                "heard": said is not None,
                "state": said["state"] if said else "unknown",
                "faults": said["faults"] if said else [],
            },
            "split_brain": self._is_split(),
            "conflicts": self._conflicts,
            "foreign": self._foreigners.seen(),
        }

    def _answer(self, method: str, path: str) -> answers.Answer:
        match method, path:
            case "GET", "/status":
                self._ask()
                return 200, self.status()
            case "GET", "/health/vrrp":
                self._ask()
                well = self._vrrp is not None and self._state in ("primary", "backup")
                return _health(well, [self._silent if self._vrrp is None else f"The state is {self._state}"])
            case "GET", "/health/peer":
                heard = self._peer.said is not None
                return _health(heard, [f"{self._settings.peer} isn't heard on {self._settings.sync.link}"])
            case "GET", "/health/split-brain":
                return _health(not self._is_split(), ["Both routers are primary", *self._conflicts])
            case "GET", "/health/foreign-vrrp":
                foreign = self._foreigners.seen()
                return _health(not foreign, foreign)
            case "POST", "/switch-over":
                return self._switch_over()
        return 404, {"detail": "There is no such thing"}

    def _switch_over(self) -> answers.Answer:
        """Let the other one take over, and go on forwarding until it has."""
        said = self._peer.said
        refusals = {
            "This router isn't the primary": self._state != "primary",
            f"{self._settings.peer} isn't heard": said is None,
            f"{self._settings.peer} isn't ready": said is not None and said["state"] != "backup",
            "With preempt the router of the higher priority would take over again": self._settings.preempt,
        }
        for refusal, holds in refusals.items():
            if holds:
                return 409, {"detail": refusal}
        with self._switching:
            self._resigned = True
            try:
                self._judge()
                gone = _until(lambda: self._state == "backup")
                # Until the other one counts as who is there already, a higher priority would bring us back.
                taken = gone and _until(lambda: (self._peer.said or {}).get("state") == "primary")
                time.sleep(_TICK_SECONDS)
            finally:
                self._resigned = False
                self._woken.set()
        if not taken:
            return 504, {"detail": f"{self._settings.peer} didn't take over within {_SWITCH_SECONDS:g} s"}
        return 200, self.status()

    def _read_configuration(self) -> None:
        stamp = _stamp(self._configuration)
        if stamp == self._stamp or stamp is None:
            return
        self._stamp = stamp
        try:
            self._settings = settings.read(self._configuration)
        except (OSError, ValueError, KeyError, TypeError) as error:
            # What was good before is better than nothing.
            log.error("The configuration can't be read: %r", error)


def _health(well: bool, sentences: list[str]) -> answers.Answer:
    return (200, {}) if well else (503, {"detail": "; ".join(sentences)})


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SWITCH_SECONDS
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False
