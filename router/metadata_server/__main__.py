"""`python3 -m router.metadata_server`"""

import argparse
import asyncio
import os
import resource
import signal
from pathlib import Path

from router.metadata_server.server import MetadataServer, Paths

_CONNECTIONS = 4096
_OTHER_FILES = 64


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="metadata_server", description=__doc__)
    runtime = os.environ.get("RUNTIME_DIRECTORY", "/run/sysvm-metadata")
    parser.add_argument("--config-directory", type=Path, default=Path("/run/sysvm/metadata"))
    parser.add_argument("--password-directory", type=Path, default=Path("/var/lib/sysvm/passwords"))
    parser.add_argument("--fetched-directory", type=Path, default=Path("/var/lib/sysvm/fetched"))
    parser.add_argument("--runtime-directory", type=Path, default=Path(runtime))
    parser.add_argument(
        "--access-log", action="store_true", help="a line per request that no kept answer fits"
    )
    return parser.parse_args()


def _most_connections() -> int:
    """As many as we want, or as there may be open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _CONNECTIONS + _OTHER_FILES
    if most != resource.RLIM_INFINITY:
        files = min(files, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return files - _OTHER_FILES


async def _serve(options: argparse.Namespace) -> None:
    paths = Paths(
        configuration=options.config_directory,
        passwords=options.password_directory,
        fetched=options.fetched_directory,
        runtime=options.runtime_directory,
    )
    server = MetadataServer(paths, connections=_most_connections(), access_log=options.access_log)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.run(stop)


if __name__ == "__main__":
    asyncio.run(_serve(_options()))
