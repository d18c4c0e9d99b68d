"""Runs `voicestack bench gpu` where voicestack is not installed and half of its dependencies are missing."""

import argparse
import sys
from pathlib import Path

from voicestack.cli import bench_gpu


def main() -> int:
    """As the command, with `--json` that it gets from `voicestack bench`. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="bench gpu", description=bench_gpu.SUMMARY)
    bench_gpu.add_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure, as it comes")
    code, _ = bench_gpu.run(parser.parse_args())
    return code


if __name__ == "__main__":
    sys.exit(main())
