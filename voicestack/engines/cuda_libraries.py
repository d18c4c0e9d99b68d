"""Where are CUDA's libraries when they came with pip? In folders in which no loader looks.

CTranslate2 opens cuBLAS and cuDNN by their names when it first needs them. A library that has been opened
already is found by its name wherever it lies (dlopen(3)), so they are opened here, by their paths.
"""

import ctypes
import importlib.util
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ORDER = ("cuda_runtime", "cublas", "cudnn")
"""Packages `nvidia-*-cu12`, those that others need first. CTranslate2's wheel is made for CUDA 12."""
PATTERNS = ("libcudart.so.12", "libcublasLt.so.12", "libcublas.so.12", "libcudnn*.so.9")


def cuda_libraries(roots: Iterable[Path]) -> list[Path]:
    """The libraries in folders `nvidia` of site-packages, in an order in which they can be opened."""
    return [
        path
        for root in roots
        for package in ORDER
        for pattern in PATTERNS
        for path in sorted((root / package / "lib").glob(pattern))
    ]


def open_cuda_libraries() -> None:
    """Open what there is. What is missing, or cannot be opened here, is left to CTranslate2 to name."""
    spec = importlib.util.find_spec("nvidia")
    roots = [] if spec is None else [Path(one) for one in spec.submodule_search_locations or ()]
    for path in cuda_libraries(roots):
        with suppress(OSError):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
