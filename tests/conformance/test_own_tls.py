"""The library that speaks nothing but TLS, against the TLS of the server itself."""

from pathlib import Path

import pytest

from tests.conformance.calls import Client, run_over_own_tls

NODE = Client("openai-node", "openai_node.mjs", tls=True)
SCENARIOS = ("connect", "voice_turn", "text_turn")

pytestmark = pytest.mark.timeout(300)


@pytest.mark.skipif(not NODE.is_there, reason="`make test` installs the Node clients, given Node.js 20")
def test_openai_for_node_and_serve_tls(tmp_path: Path) -> None:
    outcome = run_over_own_tls(NODE, SCENARIOS, tmp_path)
    assert outcome.failed == {}, outcome.errors
    assert set(outcome.saw) == set(SCENARIOS), outcome.errors
    assert "one short sentence" in str(outcome.saw["connect"]["instructions"])
    turn = outcome.saw["voice_turn"]
    assert turn["user"]
    assert turn["agent"]
    assert turn["peak"] > 1000
    assert outcome.saw["text_turn"]["agent"]
