"""`python -m chaoskit` and the console scripts. Starts the command line; nothing else."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from chaoskit.cli import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
