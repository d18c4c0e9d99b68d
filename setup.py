"""Builds the page for browsers into the package: `pip wheel .` and `python -m build` need no step before.

Everything else about the package is in pyproject.toml.
"""

import sys
from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

sys.path.insert(0, str(Path(__file__).parent))


def build_page() -> None:
    """Build it, unless this is an unpacked source archive: that has the page and not its sources.

    Raises:
        SystemExit: it cannot be built; the message says why.
    """
    from voicestack.bootstrap import web
    from voicestack.bootstrap.steps import SetupFailed

    try:
        if web.LOCK.exists():
            web.build(installs=False)
    except SetupFailed as failure:
        raise SystemExit(f"voicestack: {failure}") from None


def copy_configs(package: Path) -> None:
    """Put the profiles and the catalogue of models into the package: in a checkout they lie beside it."""
    configs = Path(__file__).parent / "configs"
    for path in configs.rglob("*.toml"):
        target = package / path.relative_to(configs.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        copyfile(path, target)


class BuildWithPage(build_py):
    """Finds the page among the package's files, and adds the profiles to them."""

    def finalize_options(self) -> None:
        """Before files are looked for."""
        if not self.editable_mode:
            build_page()
        super().finalize_options()

    def run(self) -> None:
        """See setuptools."""
        super().run()
        if not self.editable_mode:
            copy_configs(Path(self.build_lib) / "voicestack")


class ArchiveWithPage(sdist):
    """An archive that can be installed without Node.js."""

    def run(self) -> None:
        """See setuptools."""
        build_page()
        super().run()


setup(cmdclass={"build_py": BuildWithPage, "sdist": ArchiveWithPage})
