"""Where does `voicestack` begin? Here, with the command line."""

import sys

from voicestack.cli.main import run_command


def main() -> int:
    """Run the command that was typed. Returns the exit code."""
    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
