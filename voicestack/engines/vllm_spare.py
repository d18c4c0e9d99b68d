"""How do two vLLM servers become one that answers and one that sleeps?"""

import secrets
import tempfile
from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.core.history import Message
from voicestack.engines.chat_body import WIRE_ROLES
from voicestack.engines.vllm_server import VllmServer
from voicestack.engines.vllm_sleep import VllmSleeper
from voicestack.engines.warm_pair import WarmPair


def pair_of(
    servers: tuple[VllmServer, VllmServer], *, clock: Clock, model: str, prompt: tuple[Message, ...]
) -> WarmPair:
    """The pair, not running yet.

    Args:
        servers: Started with `vllm.spare` on, each with a socket of its own.
        clock: Measures takeovers.
        model: By what name they know their model.
        prompt: What is read after a wake.
    """
    messages = [{"role": WIRE_ROLES[message.role], "content": message.text} for message in prompt]
    sleepers = []
    for n, server in enumerate(servers, start=1):
        server.child.name = f"vllm-{n}"
        socket = Path(server.url.removeprefix("unix:"))
        sleepers.append(VllmSleeper(server.child, server.run, socket, model=model, prompt=messages))
    folder = Path(tempfile.gettempdir()) / f"voicestack-{secrets.token_hex(8)}"
    return WarmPair((sleepers[0], sleepers[1]), folder / "vllm.sock", clock=clock)
