"""`python -m router.pair`, as sysvm-pair.service runs it."""

import logging
import sys
from pathlib import Path

from appliance.agent.notify import notify
from router.pair.pair import Pair

CONFIGURATION = Path("/run/sysvm/redundancy/pair.json")
RUNTIME = Path("/run/sysvm-redundancy")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stderr)
    pair = Pair(CONFIGURATION, RUNTIME)
    notify("READY=1")
    pair.run()


main()
