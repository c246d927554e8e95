"""Ask each daemon's own checker about a plan before anything is touched."""

import subprocess
import tempfile
from pathlib import Path

from appliance import resources
from appliance.engine import load_balancers, ruleset
from appliance.engine.host import Host
from appliance.engine.nft import NftError
from appliance.engine.plan import Plan

_SECONDS = 30


class CheckError(Exception):
    """A plan that a daemon's own checker refuses; `subject` is the file or table, the text its words."""

    def __init__(self, subject: str, words: str) -> None:
        super().__init__(f"{subject} was refused: {words}")
        self.subject = subject


def check(plan: Plan, host: Host) -> None:
    """Raises CheckError. Files and tables that don't change are not asked about again."""
    changing = {change.name for change in plan.changes if change.action in ("create", "update")}
    for resource in plan.wanted:
        if isinstance(resource, resources.File) and resource.check and resource.path in changing:
            _check_file(resource.path, resource.content, resource.check)
        elif isinstance(resource, resources.Records) and resource.check and resource.path in changing:
            lines = "".join(f"{resource.check_prefix}{line}\n" for line in resource.records.values())
            _check_file(resource.path, lines, resource.check)
        elif isinstance(resource, resources.Ruleset) and resource.table in changing:
            try:
                ruleset.check(resource, host)
            except NftError as error:
                raise CheckError(f"nft table {resource.table}", str(error)) from error
        elif (
            isinstance(resource, resources.LoadBalancers)
            and str(load_balancers.config_path(resource, host)) in changing
            and (words := load_balancers.check(resource, host))
        ):
            raise CheckError("Load balancers", words)


def _check_file(path: str, content: str, argv: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="sysvm-check-") as directory:
        candidate = Path(directory) / Path(path).name
        candidate.write_text(content)
        result = subprocess.run(
            [str(candidate) if word == "{}" else word.replace("{}", str(candidate)) for word in argv],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    if result.returncode:
        words = (result.stderr or result.stdout).strip().replace(str(candidate), path)
        raise CheckError(path, words)
