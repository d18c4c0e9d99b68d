"""Does `bench compare` run the other checkout's server, and see that it is slower?"""

import argparse
import shutil
from pathlib import Path

from voicestack.cli import bench_compare
from voicestack.cli.bench_compare import CPU

ROOT = Path(__file__).resolve().parents[2]
FRAME = "        response = self._announcer.live.get(turn)\n"


def test_a_checkout_that_burns_time_for_every_frame_is_seen(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    for folder in ("voicestack", "configs"):
        shutil.copytree(ROOT / folder, slow / folder, ignore=shutil.ignore_patterns("__pycache__", "site"))
    path = slow / "voicestack" / "realtime" / "protocol.py"
    source = path.read_text()
    assert FRAME in source
    path.write_text(source.replace(FRAME, "        sum(range(60_000))\n" + FRAME))
    parser = argparse.ArgumentParser()
    bench_compare.add_arguments(parser)
    sizes = ["--sessions", "2", "--windows", "4", "--seconds", "1"]
    _, found = bench_compare.run(parser.parse_args(["--against", str(slow), "--only", "load", *sizes]))
    assert found is not None
    assert found["figures"][CPU]["value"] < 0.7, found
