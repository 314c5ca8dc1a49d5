"""A network's forward pass on the CPU through OpenVINO, compiled once and cached.

A processor does one photo at a time best while the network's weights fit its caches, and small
batches of a larger network. Each request has one fixed shape, so a vector does not depend on
what else is in its batch.
"""

import json
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from embed.backends import Pending, normalising
from embed.files import sha256, write_json
from embed.spec import EncoderSpec
from embed.witness import LOWEST, lowest_cosine

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

T = TypeVar("T")

_MODEL = "model.xml"
_VERDICT = "parity.json"
_SMALL = 64 * 2**20  # bytes of weights that a request with one photo reads from cache, not memory
_PHOTOS_A_REQUEST = 8  # of larger networks
_BATCH_OF_SMALL, _BATCH = 128, 32  # photos under way: half a second's work, or a second's


def openvino_runs_bf16() -> bool:
    """Whether OpenVINO is here and the processor has bf16 arithmetic."""
    if not openvino_here():
        return False
    return _apart(lambda: "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def openvino_here() -> bool:
    with suppress(PackageNotFoundError):
        return bool(version("openvino"))
    return False


def _apart(job: Callable[[], T]) -> T:
    """The result of `job`, in a thread of its own.

    OpenVINO's CPU plugin gives the thread that loads it a stack for signals, and frees that with
    the plugin: Ctrl-C in such a thread would then kill the process.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(job).result()


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()


class OpenVinoBackend:
    """A compiled network; requests run side by side, one thread each."""

    def __init__(self, model: Any, spec: EncoderSpec) -> None:
        import openvino

        photos = 1 if _weight_bytes(model) <= _SMALL else _PHOTOS_A_REQUEST
        side = spec.transform.crop
        model.reshape([photos, side, side, 3])
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[spec.precision],
        }
        compiled = _apart(lambda: _core().compile_model(model, "CPU", settings))
        self._photos = photos
        self._dim = int(compiled.output(0).shape[-1])
        requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._queue = openvino.AsyncInferQueue(compiled, requests)
        self._queue.set_callback(_keep)
        self.name = f"openvino {version('openvino')}, cpu, {spec.precision}"
        self.batch_size = max(_BATCH_OF_SMALL if photos == 1 else _BATCH, 4 * photos * requests)
        self.in_flight = 2

    def start(self, squares: U8) -> Pending:
        n = len(squares)
        X = np.empty((n, self._dim), dtype=np.float32)
        left = _Countdown(-(-n // self._photos))
        for low in range(0, n, self._photos):
            part = np.ascontiguousarray(squares[low : low + self._photos])
            if len(part) < self._photos:
                fill = np.zeros((self._photos - len(part), *part.shape[1:]), dtype=np.uint8)
                part = np.concatenate([part, fill])
            self._queue.start_async([part], (X[low : low + self._photos], left, part), True)

        def wait() -> F32:
            while not left.done.wait(timeout=10):
                self._queue.wait_all()  # raises what went wrong in a request
            return X

        return wait


class _Countdown:
    def __init__(self, n: int) -> None:
        self.n = n
        self.lock = threading.Lock()
        self.done = threading.Event()
        if n == 0:
            self.done.set()

    def one(self) -> None:
        with self.lock:
            self.n -= 1
            if self.n == 0:
                self.done.set()


def _keep(request: Any, userdata: tuple[F32, _Countdown, U8]) -> None:
    rows, left, _ = userdata
    rows[:] = request.get_output_tensor(0).data[: len(rows)]
    left.one()


def compiled_backend(
    spec: EncoderSpec, build: Callable[[], Any], squares: U8
) -> "OpenVinoBackend | None":
    """The network of `build()` in OpenVINO, from the cache where it was converted before.

    None where OpenVINO cannot take it, or gives other features of the test `squares`
    (n, side, side, 3) than PyTorch: that verdict is cached with the model.
    """
    folder = cache_folder() / "openvino" / _cache_key(spec)
    cached = _from_cache(folder, spec)
    if cached is not None:
        return cached or None
    print(f"Compiling {spec.architecture} for this processor (once) ...", file=sys.stderr)
    network = build()
    model = _converted(network, spec)
    backend = OpenVinoBackend(model.clone(), spec) if model is not None else None
    cosine = _parity(backend, network, spec, squares) if backend else -1.0
    _save(folder, model, {"cosine": cosine, "engine": backend.name if backend else None})
    if cosine < LOWEST[spec.precision]:
        return None
    # The saved network, not this one, which differs from it in the last bit: a run that is
    # interrupted and goes on shall give what an undisturbed one gives.
    return _from_cache(folder, spec) or backend


def cache_folder() -> Path:
    """Where compiled networks are kept: FAMILIA_CACHE, else the user's cache."""
    own = os.environ.get("FAMILIA_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "familia"


def _cache_key(spec: EncoderSpec) -> str:
    t = spec.transform
    parts: list[Any] = [spec.library, spec.architecture, spec.weights, spec.pooling, spec.precision]
    parts += [t.crop, t.mean, t.std, spec.recipe]
    parts += [version(name) for name in ("openvino", "torch", "timm", "open_clip_torch")]
    return sha256(json.dumps(parts).encode())[:24]


def _from_cache(folder: Path, spec: EncoderSpec) -> "OpenVinoBackend | Literal[False] | None":
    """The cached network; False where the verdict was against it, None where nothing is there."""
    try:
        cosine = float(json.loads((folder / _VERDICT).read_text())["cosine"])
        if cosine < LOWEST[spec.precision]:
            return False
        return OpenVinoBackend(_core().read_model(folder / _MODEL), spec)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def _converted(network: Any, spec: EncoderSpec) -> Any:
    import openvino
    import torch

    side = spec.transform.crop
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator cannot be traced
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of what it makes constant
            pixels = torch.zeros(2, side, side, 3, dtype=torch.uint8)
            return openvino.convert_model(normalising(network, spec), example_input=pixels)
    except Exception:  # whatever the converter has not learnt yet; PyTorch is there
        return None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _parity(backend: OpenVinoBackend, network: Any, spec: EncoderSpec, squares: U8) -> float:
    import torch

    with torch.inference_mode():
        theirs = normalising(network, spec)(torch.from_numpy(squares)).numpy()
    return lowest_cosine(_unit(backend.start(squares)()), _unit(theirs))


def _save(folder: Path, model: Any, verdict: dict[str, Any]) -> None:
    """Whole or not at all; a cache that cannot be written costs time, not the run."""
    import openvino

    scratch = folder.with_name(f".{folder.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        scratch.mkdir(parents=True)
        if model is not None:
            openvino.save_model(model, scratch / _MODEL, compress_to_fp16=False)
        write_json(scratch / _VERDICT, verdict)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    except Exception:
        shutil.rmtree(scratch, ignore_errors=True)


def _weight_bytes(model: Any) -> int:
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    return sum(int(op.get_byte_size()) for op in constants)


def _unit(X: F32) -> F32:
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), dtype=np.float32)
