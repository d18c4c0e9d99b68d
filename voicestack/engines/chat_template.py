"""Does the model's chat template pass functions on to the model, or leave them out without a word?

llama-server renders what a model would read (`/apply-template`); a template that knows functions renders a
conversation with one differently than without. Other servers have no such endpoint: nobody knows then.
"""

from voicestack.engines.sse import ChatClient

ASK = {"messages": [{"role": "user", "content": "Hi."}]}
FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
DEAF = (
    "the chat template of the language model does not know functions: the model is told of none and will "
    "call none. Set llm.tools to 'prompted' (llama.cpp), or take a model that learned to call"
)


async def passes_tools_on(client: ChatClient) -> bool | None:
    """Whether the model hears of functions; None when the server does not say.

    A server that renders the conversation alone and refuses it with a function (llama-server without
    `--jinja`) does not pass functions on either.
    """
    without = await client.rendered(ASK)
    if without is None:
        return None
    return await client.rendered(ASK | {"tools": [FUNCTION]}) not in (None, without)
