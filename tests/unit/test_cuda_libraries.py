"""Are the CUDA libraries of pip found, and opened in an order that works?"""

import ctypes
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from voicestack.engines import cuda_libraries as libraries


def laid_out(root: Path) -> Path:
    for package, names in (
        ("cudnn", ("libcudnn_ops.so.9", "libcudnn.so.9")),
        ("cublas", ("libcublas.so.12", "libcublasLt.so.12", "libnvblas.so.12")),
        ("cuda_runtime", ("libcudart.so.12",)),
        ("nccl", ("libnccl.so.2",)),
    ):
        folder = root / package / "lib"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(b"not a library")
    return root


def test_what_others_need_is_first(tmp_path: Path) -> None:
    found = [
        path.name for path in libraries.cuda_libraries([tmp_path / "none", laid_out(tmp_path / "nvidia")])
    ]
    assert found == [
        "libcudart.so.12",
        "libcublasLt.so.12",
        "libcublas.so.12",
        "libcudnn.so.9",
        "libcudnn_ops.so.9",
    ]


def test_what_cannot_be_opened_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModuleSpec("nvidia", None, is_package=True)
    assert spec.submodule_search_locations is not None
    spec.submodule_search_locations.append(str(laid_out(tmp_path / "nvidia")))
    asked: list[str] = []

    def refuse(name: str, mode: int) -> None:
        asked.append(Path(name).name)
        assert mode == ctypes.RTLD_GLOBAL
        raise OSError("invalid ELF header")

    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", refuse)
        patch.setattr("importlib.util.find_spec", lambda _: spec)
        libraries.open_cuda_libraries()
        assert len(asked) == 5
        patch.setattr("importlib.util.find_spec", lambda _: None)
        libraries.open_cuda_libraries()
        assert len(asked) == 5
