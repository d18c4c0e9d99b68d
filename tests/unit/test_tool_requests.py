"""How the bench of function calls judges, and what it prints from that."""

import argparse
import asyncio
import json
from pathlib import Path

import pytest

from voicestack.aio.clock import LoopClock
from voicestack.cli import bench_tools
from voicestack.cli.tool_requests import Answer, Spoken, Verdict, ask, judge, read_questions
from voicestack.core.errors import ConfigError
from voicestack.core.history import Message
from voicestack.core.tools import Tool, Toolbox, ToolCall
from voicestack.engines.scripted import ScriptedLlm

FILE = Path("voicestack/cli/gate_data/tool_requests.json")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["city"],
}
TOOLS = {"weather": Tool("weather", "", SCHEMA), "other": Tool("other")}
REQUEST = Spoken("weather in paris", "weather", {"city": ("Paris", "paris, france"), "n": (3,)})


def test_right_is_compared_as_words() -> None:
    verdict = judge(REQUEST, Answer(name="weather", arguments='{"city": "PARIS, France.", "n": 3}'), TOOLS)
    assert (verdict.called, verdict.right_tool, verdict.right_arguments, verdict.valid) == (True,) * 4


@pytest.mark.parametrize(
    ("name", "arguments", "right_tool", "valid", "wrong"),
    [
        ("weather", '{"city": "Rome", "n": 3}', True, True, ["city"]),
        ("weather", '{"city": "Paris", "n": true}', True, False, ["city", "n"]),
        ("weather", '{"city": "Paris"', True, False, ["city", "n"]),
        ("weather", '{"n": 3}', True, False, ["city", "n"]),
        ("other", "{}", False, True, ["city", "n"]),
    ],
)
def test_wrong_is_wrong(name: str, arguments: str, right_tool: bool, valid: bool, wrong: list[str]) -> None:
    verdict = judge(REQUEST, Answer(name=name, arguments=arguments), TOOLS)
    assert (verdict.right_tool, verdict.valid, verdict.wrong) == (right_tool, valid, wrong)
    assert verdict.right_arguments is False


def test_a_call_in_chat_is_false_and_no_call_to_a_request_is_missing() -> None:
    chat = Spoken("hello", "weather")
    verdicts = [
        judge(chat, Answer(text="hi", first_ms=120.0), TOOLS),
        judge(chat, Answer(name="other", arguments="{}"), TOOLS),
        judge(REQUEST, Answer(text="sunny"), TOOLS),
        judge(REQUEST, Answer(error="stage_timeout"), TOOLS),
        judge(REQUEST, Answer(name="weather", arguments='{"city": "Paris", "n": 3}', done_ms=300.0), TOOLS),
    ]
    run = bench_tools.Run(plain=[Answer(first_ms=100.0)])
    run.verdicts["one"] = verdicts
    found = bench_tools.figures(run)["ways"]["one"]
    assert found["right_tool"] == found["right_arguments"] == (1, 3)
    assert found["false_calls"] == (1, 2)
    assert found["valid"] == (2, 2)
    assert found["errors"] == 1
    assert found["chat_added_ms"] == {"p50": 20.0, "p95": 20.0}


def test_the_file_holds_what_the_bench_promises() -> None:
    parts = [read_questions(FILE, part) for part in ("development", "held_out")]
    texts = [{spoken.text for spoken in part.spoken} for part in parts]
    assert not texts[0] & texts[1]
    for part in parts:
        requests = [spoken for spoken in part.spoken if spoken.arguments is not None]
        assert len(requests) >= 15
        assert len(part.spoken) - len(requests) >= 20
        assert len({spoken.tool for spoken in requests}) >= 5
        for spoken in requests:
            best = {key: values[0] for key, values in (spoken.arguments or {}).items()}
            right = judge(spoken, Answer(name=spoken.tool, arguments=json.dumps(best)), part.tools)
            assert right.right_arguments, spoken
            assert right.valid, spoken


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tools": [{"nme": "x"}], "development": {}}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="holds no requests"):
        read_questions(path, "development")


def test_it_asks_with_the_functions_and_primes_without_the_question() -> None:
    llm = ScriptedLlm([ToolCall("c", "weather", '{"city": "Paris"}')])
    messages = (Message("system", "Be brief."), Message("user", "weather in paris"))
    toolbox = Toolbox((TOOLS["weather"],))
    answer = asyncio.run(ask(llm, LoopClock(), "s", messages, toolbox))
    assert (answer.name, answer.arguments, answer.text) == ("weather", '{"city": "Paris"}', "")
    assert [request.messages for request in llm.primes] == [messages[:1]]
    assert llm.primes[0].toolbox == llm.requests[0].toolbox == toolbox


def test_the_whole_bench_runs_on_a_model_that_never_calls(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    bench_tools.add_arguments(parser)
    code, found = bench_tools.run(parser.parse_args(["--config", "scripted", "--verbose"]))
    assert code == 0
    assert found is not None
    assert found["ways"]["one"]["right_tool"] == (0, 20)
    assert found["ways"]["all"]["false_calls"] == (0, 20)
    assert "0 of 20" in capsys.readouterr().out


def test_a_verdict_without_a_call_says_nothing_about_calls() -> None:
    assert judge(Spoken("hi", "weather"), Answer(text="hi"), TOOLS) == Verdict(
        Spoken("hi", "weather"), Answer(text="hi")
    )
