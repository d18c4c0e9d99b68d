"""Where does `voicestack` begin? Here, with the command line."""

import os
import sys

# Silero's matrices are small: a second BLAS thread costs ten times what it brings. Set before numpy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from voicestack.cli.main import run_command


def main() -> int:
    """Run the command that was typed. Returns the exit code."""
    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
