"""`python3 -m secstorage.s3 CONFIGURATION`"""

import argparse
import sys
from pathlib import Path

from appliance.model import RefusedError
from secstorage.s3 import configuration
from secstorage.s3.daemon import Daemon


def main() -> int:
    parser = argparse.ArgumentParser(prog="secstorage.s3", description="S3 over a directory.")
    parser.add_argument("configuration", type=Path, help="a JSON file; read again on SIGHUP")
    parser.add_argument("--check", action="store_true", help="only say what is wrong with it")
    options = parser.parse_args()
    try:
        if options.check:
            configuration.read(options.configuration)
            return 0
        return Daemon(options.configuration).run()
    except (OSError, ValueError, RefusedError) as error:
        print(f"{options.configuration}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
