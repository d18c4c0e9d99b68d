"""How does a server go on with an answer whose beginning somebody else wrote?

llama-server is given the prompt as its template words it, with the beginning behind it: without Jinja it
closes a last message of the agent's, and with Jinja it says it again. vLLM has fields for it. Another server
is asked to, in words.
"""

from typing import Any

from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.sse import ChatClient

GO_ON = (
    "You have begun to say your answer aloud, as above. Go on from the exact word where it stops. "
    "Do not say any of it again."
)


async def going_on(
    body: dict[str, Any], begun: str, client: ChatClient, settings: LlmSettings
) -> dict[str, Any]:
    """The body of a request whose answer goes on from `begun`. With `prompt` in it, it is a completion.

    Raises:
        StageUnavailable: the server is gone.
    """
    messages = [*body["messages"], {"role": "assistant", "content": begun}]
    is_llama = settings.slots or settings.dialect == "llama"
    if is_llama and (prompt := await client.rendered({"messages": body["messages"]})):
        return {name: value for name, value in body.items() if name != "messages"} | {
            "prompt": prompt + begun
        }
    if settings.dialect == "vllm":
        return body | {
            "messages": messages,
            "continue_final_message": True,
            "add_generation_prompt": False,
        }
    return body | {"messages": [*messages, {"role": "user", "content": f"({GO_ON})"}]}
