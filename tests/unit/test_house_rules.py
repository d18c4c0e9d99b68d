"""Do the sources keep the rules that no linter knows? Each rule is a function from a source to complaints."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "voicestack").rglob("*.py"))

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60

BANNED_NAMES = "manager handler service base util utils helper helpers common context processor"
"""Parts of names that say nothing about the thing."""
OTHER_WORDS = {"stt": "asr", "bot": "agent", "assistant": "agent"}
"""One word per thing: the word that is not used, and the one that is."""

MEASURED = (
    "timeout delay duration interval deadline latency lateness elapsed wait gap age period pause silence "
    "padding rate backoff ttl grace budget memory"
)
UNIT_SUFFIXES = "ns us ms s hz samples bytes bits db dbfs wpm frames tokens items words chars ratio"
BANNED, MEASURES, UNITS = (frozenset(names.split()) for names in (BANNED_NAMES, MEASURED, UNIT_SUFFIXES))
NUMBERS = frozenset({"int", "float", "int | None", "float | None"})

LOUD = frozenset({"info", "warning", "error", "exception", "critical"})
PERSONAL = frozenset({"text", "texts", "words", "transcript", "messages", "instructions", "pcm", "heard"})
"""What somebody said, typed or heard has one of these names."""

LAYERS = [
    *("__main__", "cli", "server", "transports | engines | (fleet) | telemetry | access", "session", "ports"),
    *("config", "realtime", "turn", "aio", "core | (bootstrap)"),
]

Rule = Callable[[ast.Module, str], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def parts(name: str) -> list[str]:
    """`FrameHandler_2` -> frame, handler, 2."""
    return re.findall(
        r"[a-z]+|\d+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    )


def short_enough(tree: ast.Module, text: str) -> Iterator[str]:
    if text.count("\n") > MAX_FILE_LINES:
        yield f"{text.count(chr(10))} lines"
    for node in ast.walk(tree):
        if isinstance(node, Function):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            n_lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if n_lines > MAX_FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {n_lines} lines"


def documented(tree: ast.Module, text: str) -> Iterator[str]:
    first = (ast.get_docstring(tree) or "").split("\n\n")[0]
    if not first.endswith((".", "?", "::")):
        yield "1: the module does not say in a sentence what it is about"


def well_named(tree: ast.Module, text: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | Function):
            of_function = {"context"} if isinstance(node, Function) else set()  # a model's context is a thing
            for part in BANNED & set(parts(node.name)) - of_function:
                yield f"{node.lineno}: {node.name}: '{part}' says nothing"
        names = [node.name] if isinstance(node, ast.ClassDef | Function) else []
        names += [node.arg] if isinstance(node, ast.arg) else []
        for name in names:
            for part in OTHER_WORDS.keys() & set(parts(name)):
                yield f"{getattr(node, 'lineno', 0)}: {name}: here it is called '{OTHER_WORDS[part]}'"


def numbers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The names that are declared to be numbers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation and ast.unparse(node.annotation) in NUMBERS:
            yield node.lineno, node.arg
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in NUMBERS:
            yield node.lineno, ast.unparse(node.target).rpartition(".")[2]
        if isinstance(node, ast.Assign) and re.fullmatch(r"[\d._e]+", ast.unparse(node.value)):
            yield from ((node.lineno, ast.unparse(target)) for target in node.targets)


def with_units(tree: ast.Module, text: str) -> Iterator[str]:
    for line, name in numbers(tree):
        of = parts(name)
        if MEASURES & set(of) and of[-1] not in UNITS and of[0] not in ("n", "p"):
            yield f"{line}: {name} has no unit"
        if of[:1] != ["p"] and {"prob", "probability", "confidence"} & set(of):
            yield f"{line}: {name}: probabilities begin with p_"
        if of[:1] != ["n"] and {"num", "count", "cnt"} & set(of):
            yield f"{line}: {name}: counts begin with n_"


def discreet(tree: ast.Module, text: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOUD
        ):
            continue
        if not re.fullmatch(r"(self\.)?_?(log|logger|logging)", ast.unparse(node.func.value), re.IGNORECASE):
            continue
        for inner in (deep for arg in (*node.args, *node.keywords) for deep in ast.walk(arg)):
            name = getattr(inner, "id", None) or getattr(inner, "attr", None)
            if name in PERSONAL:
                yield f"{node.lineno}: '{name}' is logged above DEBUG; what people say is theirs"


RULES: list[Rule] = [short_enough, documented, well_named, with_units, discreet]


@pytest.mark.parametrize("rule", RULES)
def test_the_sources_keep_the_rule(rule: Rule) -> None:
    complaints = []
    for path in SOURCES:
        text = path.read_text()
        complaints += [f"{path.relative_to(ROOT)}:{found}" for found in rule(ast.parse(text), text)]
    assert complaints == []


def test_files_are_named_after_what_they_hold() -> None:
    assert [str(path) for path in SOURCES if BANNED & set(parts(path.stem))] == []


BAD: list[tuple[Rule, str]] = [
    (short_enough, "x = 1\n" * 351),
    (short_enough, "def f():\n" + "    x = 1\n" * 61),
    (documented, ""),
    (documented, '"""things"""'),
    (well_named, "class TurnManager: ..."),
    (well_named, "class HTTPHandler: ..."),
    (well_named, "def audio_utils(): ..."),
    (well_named, "def f(stt): ..."),
    (with_units, "def f(timeout: float): ..."),
    (with_units, "def f(*, max_delay: int | None = None): ..."),
    (with_units, "class A:\n    frame_duration: int = 1"),
    (with_units, "RETRY_INTERVAL = 5"),
    (with_units, "def f(speech_prob: float): ..."),
    (with_units, "def f(num_workers: int): ..."),
    (discreet, "log.info('heard %s', text)"),
    (discreet, "self._log.warning(f'lost {transcript.text!r}')"),
    (discreet, "logger.error('x', extra={'said': event.words})"),
]
GOOD: list[tuple[Rule, str]] = [
    (short_enough, "def f():\n    '''" + "doc\n" * 70 + "    '''\n" + "    x = 1\n" * 60),
    (documented, '"""What is this?\n\nMore"""'),
    (well_named, "class Based(BaseModel): ..."),
    (with_units, "def f(timeout_ms: float, n_gaps: int, p_pause: float, rate: str): ..."),
    (with_units, "RETRY_INTERVAL_S = 5\nn_count: int = 3"),
    (discreet, "log.debug('heard %s', text)\nlog.info('text', extra={'n': n_words})\nconsole.info(text)"),
]


@pytest.mark.parametrize(("rule", "source"), BAD)
def test_a_rule_finds_what_it_is_for(rule: Rule, source: str) -> None:
    assert list(rule(ast.parse(source), source))


@pytest.mark.parametrize(("rule", "source"), GOOD)
def test_a_rule_lets_the_rest_alone(rule: Rule, source: str) -> None:
    assert not list(rule(ast.parse(source), source))


# --- who imports whom -------------------------------------------------------------------------------------


def test_the_layers_are_those_of_the_design() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]
    assert layers["layers"].split("\n")[1:] == LAYERS
    assert layers.getboolean("exhaustive")
    assert contracts["importlinter:contract:pure"]["source_modules"].split() == [
        *("voicestack.core", "voicestack.turn", "voicestack.realtime"),
    ]


def lint_imports(directory: Path) -> tuple[int, list[str]]:
    """The exit code, and the contracts that are broken."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, check=False
    )
    verdicts = re.findall(r"^(.*) BROKEN", done.stdout, re.MULTILINE)
    return done.returncode, verdicts if "Contracts:" in done.stdout else [done.stdout + done.stderr]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / ".importlinter", directory)
    shutil.copytree(ROOT / "voicestack", directory / "voicestack", ignore=lambda _, names: skipped(names))
    return directory


def skipped(names: list[str]) -> list[str]:
    return [name for name in names if "." in name and not name.endswith(".py")] + ["__pycache__"]


def test_imports_are_as_the_contracts_say(copy: Path) -> None:
    assert lint_imports(copy) == (0, [])


def test_each_contract_can_be_broken(copy: Path, tmp_path: Path) -> None:
    checkout = shutil.copytree(copy, tmp_path / "checkout")
    for path, line in {
        "session/ledger.py": "import voicestack.server",  # up
        "telemetry/logs.py": "import voicestack.engines.scripted",  # sideways
        "core/ids.py": "import os",
        "session/playout.py": "from time import monotonic",
        "bootstrap/__init__.py": "import numpy",
    }.items():
        with (checkout / "voicestack" / path).open("a") as file:
            file.write(f"\n{line}\n")
    (checkout / "voicestack" / "utils.py").write_text("")
    code, broken = lint_imports(checkout)
    assert code == 1
    assert broken == [
        "Imports point down, and neighbours do not know each other",
        "Core, turn and realtime are pure",
        "Only aio.clock reads a clock",
        "The set-up runs on a bare Python",
    ]
