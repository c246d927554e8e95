"""Start the agent: `python -m appliance.agent`. Most of the time that takes is Python's imports."""

import gc

from appliance.agent import omission


def main() -> None:
    # All that imports make stays. To look through it for garbage, again and again as it grows, takes a tenth
    # of the start; the agent has the collector run once it serves.
    gc.disable()
    omission.leave_out()
    # Not before: it imports the rest.
    from appliance.agent import daemon

    daemon.run()


if __name__ == "__main__":
    main()
