"""`voicestack models`: which models are there, and how do they get here?"""

import argparse
import difflib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from voicestack.cli.models_bundle import Bundle, write_bundle
from voicestack.cli.models_fetch import Fetcher, readable
from voicestack.cli.models_list import show_json, show_table
from voicestack.cli.models_progress import Bars
from voicestack.cli.models_sources import Source, source_of
from voicestack.config.catalogue import load_catalogue
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.catalogue import (
    EVERYTHING,
    REPOSITORY,
    REVISION,
    Catalogue,
    Model,
    Pin,
    model_of_repository,
)
from voicestack.core.errors import ConfigError, ModelError
from voicestack.engines.model_store import (
    LOCK_FILE,
    ModelStore,
    find_model,
    models_folder,
    read_lock,
    write_lock,
)
from voicestack.server.needed_models import needed_models

NAMES = "a model, OWNER/NAME[@REVISION] of any repository on the hub, or a profile for all of its models"
EPILOG = """\
A pull that was stopped goes on where it was when it is run again. Gated models need a token of yours in
HF_TOKEN. Behind a proxy set HTTPS_PROXY; HF_ENDPOINT is another address of the hub."""


wait = threading.Event().wait
"""Waits so many seconds. Ctrl-C ends it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every command works with."""

    config: Config
    catalogue: Catalogue
    store: ModelStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.description = "The models that engines load: what there is, and what is here."
    parser.add_argument("--config", metavar="PROFILE|FILE", help="whose models.folder and models.mirror")
    does = parser.add_subparsers(
        dest="what", required=True, metavar="list | pull | verify | where | remove | bundle"
    )
    listing = does.add_parser("list", help="what this version knows, with licences, and what is here")
    listing.add_argument("--json", action="store_true", help="print JSON, with everything that is known")
    pull = does.add_parser("pull", help="fetch models, checked against their pins", epilog=EPILOG)
    pull.add_argument("names", nargs="*", metavar="NAME", help=f"{NAMES}; none: what --config needs")
    origin = pull.add_mutually_exclusive_group()
    origin.add_argument("--mirror", metavar="URL|FOLDER", help="fetch from here, not from the hub")
    origin.add_argument("--from", dest="bundle", metavar="FILE.tar", help="take them out of a bundle")
    pull.add_argument("--pin-file", metavar="FILE", help="hold to the pins in this file, and add new ones")
    pull.add_argument(
        "--update", action="store_true", help="pin anew: what the catalogue has, else the newest"
    )
    verify = does.add_parser("verify", help="check every byte; exit code 1 if one is not as pinned")
    verify.add_argument("names", nargs="*", metavar="NAME", help="which (default: all that are here)")
    where = does.add_parser("where", help="print the path that engines load")
    where.add_argument("name", metavar="NAME")
    remove = does.add_parser("remove", help="delete models; their pins stay")
    remove.add_argument("names", nargs="+", metavar="NAME")
    bundle = does.add_parser("bundle", help="put models that are here into one file, for `pull --from`")
    bundle.add_argument("names", nargs="+", metavar="NAME", help="as for pull")
    bundle.add_argument("-o", "--output", required=True, metavar="FILE.tar")


def run(args: argparse.Namespace) -> int:
    """Do it. Returns 0, or 1 if `verify` found something."""
    config = load(args.config, env=os.environ, sets=[]).config
    setting = Setting(config, load_catalogue(), ModelStore(models_folder(config.models.folder)))
    does: Mapping[str, Callable[[Setting, argparse.Namespace], int]] = {
        "list": _list,
        "pull": _pull,
        "verify": _verify,
        "where": _where,
        "remove": _remove,
        "bundle": _bundle,
    }
    return does[args.what](setting, args)


def _list(setting: Setting, args: argparse.Namespace) -> int:
    show = show_json if args.json else show_table
    show(setting.catalogue, setting.store)
    return 0


def _pull(setting: Setting, args: argparse.Namespace) -> int:
    bundle = Bundle(Path(args.bundle)) if args.bundle else None
    needed = [name for _, name in needed_models(setting.config)]
    names = args.names or (list(bundle.pins) if bundle else needed)
    offered = bundle.pins if bundle else {}
    strangers = {name: Model(name, "llm", pin, EVERYTHING) for name, pin in offered.items()}
    models = _models(Catalogue({**strangers, **setting.catalogue.models}), names)
    if not models:
        print(f"The profile {setting.config.profile} needs no models; `voicestack models list` shows some.")
        return 0
    source = bundle or source_of(args.mirror or setting.config.models.mirror)
    pins = _PinFile(Path(args.pin_file) if args.pin_file else None)
    said: list[str] = []  # afterwards: bars are redrawn over what is printed meanwhile
    try:
        with closing(source), Bars() as bars:
            for model in models:
                said.append(_pull_one(setting.store, model, source, pins, bars, update=args.update))
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        raise
    finally:
        print("\n".join(said), end="\n" if said else "", flush=True)
    return 0


class _PinFile:
    """The pins that a team shares, if it does."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.pins = read_lock(path) if path else {}

    def add(self, name: str, pin: Pin) -> None:
        """Keep what was pulled."""
        if self._path is not None and self.pins.get(name) != pin:
            self.pins[name] = pin
            write_lock(self._path, self.pins)


def _pull_one(
    store: ModelStore, model: Model, source: Source, shared: _PinFile, bars: Bars, *, update: bool
) -> str:
    """Pull a model. Returns what to say about it."""
    name = model.name
    with store.exclusive(name, lambda: bars.say(f"{name} is being pulled already; waiting for that")):
        locked = None if update else shared.pins.get(name) or store.pins().get(name)
        wanted = model.pin if locked is None else locked
        if model.pin.revision not in ("", wanted.revision):
            bars.say(
                f"{name} stays at revision {wanted.revision}, where it is pinned; --update takes the new one"
            )
        fetcher = Fetcher(store, source, bars, wait)
        pulled = fetcher.pull(model, wanted, is_settled=locked is not None or model.is_pinned)
    shared.add(name, pulled.pin)
    n_bytes = pulled.fetched_bytes
    came = f"{readable(n_bytes)} fetched" if n_bytes else "nothing had to be fetched"
    said = f"{name}: {came}, {readable(pulled.pin.size_bytes)} in {store.where(name)}"
    said += f"\n  licence: {model.licence or 'see its page'}{f' ({model.note})' if model.note else ''}"
    if locked is None and not model.is_pinned:
        said += f"\n  pinned from now on: revision {pulled.pin.revision}, in {store.folder / LOCK_FILE}"
    return said


def _verify(setting: Setting, args: argparse.Namespace) -> int:
    store, pins = setting.store, setting.store.pins()
    names = [model.name for model in _models(setting.catalogue, args.names)] if args.names else store.names()
    if not names:
        print(f"There are no models in {store.folder}.")
    n_wrong = 0
    said: list[str] = []
    with Bars() as bars:
        for name in names:
            known = setting.catalogue.models.get(name)
            pin = pins.get(name) or (known.pin if known and known.is_pinned else None)
            problems = ["it is not here"] if not store.has(name) else ["nothing says what it should be"]
            if pin is not None and store.has(name):
                bars.begin(f"checking {name}", pin.size_bytes, 0)
                problems = store.differences(name, pin, bars.advance)
                bars.end()
            n_wrong += bool(problems)
            said += [f"{name}: {problem}" for problem in problems] or [f"{name}: as pinned"]
    print("\n".join(said), end="\n" if said else "")
    if n_wrong:
        print(f"voicestack models: {n_wrong} of {len(names)} are not as they should be", file=sys.stderr)
    return 1 if n_wrong else 0


def _where(setting: Setting, args: argparse.Namespace) -> int:
    print(find_model(args.name, setting.store.folder))
    return 0


def _remove(setting: Setting, args: argparse.Namespace) -> int:
    for name in (model.name for model in _models(setting.catalogue, args.names)):
        if not setting.store.has(name):
            print(f"{name} is not here.")
            continue
        with setting.store.exclusive(name, lambda: None):
            setting.store.remove(name)
        print(f"{name} is removed.")
    return 0


def _bundle(setting: Setting, args: argparse.Namespace) -> int:
    models = {model.name: model for model in _models(setting.catalogue, args.names)}
    pins = setting.store.pins()
    for name in models:
        if name not in pins or not setting.store.has(name):
            raise ModelError(f"{name} is not here: run `voicestack models pull {name}`")
    pins = {name: pins[name] for name in models}
    target = Path(args.output)
    size_bytes = sum(pin.size_bytes for pin in pins.values())
    with Bars() as bars:
        bars.begin(f"writing {target}", size_bytes, 0)
        licences = {name: model.licence for name, model in models.items()}
        write_bundle(target, setting.store, pins, licences, bars.advance)
        bars.end()
    print(f"{target}: {', '.join(models)}; {readable(target.stat().st_size)}")
    print(f"On the other machine: voicestack models pull --from {target.name}")
    return 0


def _models(catalogue: Catalogue, names: Sequence[str]) -> list[Model]:
    """The models that names stand for, each once. Raises ConfigError: a name stands for none."""
    models: dict[str, Model] = {}
    for name in names:
        repository, at, revision = name.partition("@")
        if name in catalogue.models:
            models[name] = catalogue.models[name]
        elif of_profile := catalogue.of_profile(name):
            models |= {each: catalogue.models[each] for each in of_profile}
        elif REPOSITORY.fullmatch(repository) and (not at or REVISION.fullmatch(revision)):
            models[repository] = model_of_repository(repository, revision)
        else:
            raise ConfigError(_unknown(name, catalogue))
    return list(models.values())


def _unknown(name: str, catalogue: Catalogue) -> str:
    if "@" in name and REPOSITORY.fullmatch(name.partition("@")[0]):
        return f"{name}: a revision is the 40 hex digits of a commit"
    close = difflib.get_close_matches(name, [*catalogue.models, *catalogue.profiles], n=1)
    hint = f"did you mean {close[0]}?" if close else "`voicestack models list` shows them"
    return f"there is no model '{name}'; {hint}"
