"""A network's forward pass in PyTorch: CPU, CUDA (all the GPUs there are), MPS."""

import os
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, did_you_mean
from embed.spec import EncoderSpec

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Pending = Callable[[], F32]  # waits for the features of a batch

DEVICES = ("auto", "cpu", "cuda", "mps")
CPU_BATCH = 16
GPU_BATCH = 128


class Backend(Protocol):
    """One forward pass after another; several may be under way."""

    name: str  # library, version, device and precision, as it is written into the parts
    batch_size: int  # squares that suit it
    in_flight: int  # batches worth starting before the first is waited for

    def start(self, squares: U8) -> Pending:
        """Begin with (n, side, side, 3) uint8 pixels; the call gives (n, dim) float32 features."""
        ...


def check_device(device: str) -> None:
    """Raises `UserError` for what is no device, or a device that this machine lacks."""
    if device not in DEVICES:
        raise UserError(f"'{device}' is no device. {did_you_mean(device, DEVICES)}")
    if device in ("cuda", "mps") and present_device(device) != device:
        raise UserError(f"This machine has no {device} device for torch. Use --device cpu or auto.")


def present_device(device: str) -> str:
    """`auto` is CUDA, else Apple's MPS, else the CPU. Loads torch only where it must."""
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    # What MPS lacks runs on the CPU then; torch reads this when it is loaded.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    import torch

    present = [
        name
        for name, there in (
            ("cuda", torch.cuda.is_available()),
            ("mps", torch.backends.mps.is_available()),
            ("cpu", True),
        )
        if there
    ]
    return device if device in present else present[0]


def _may_have_gpu() -> bool:
    """Whether it is worth the seconds that torch takes to load to ask it."""
    nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    return sys.platform != "linux" or any(Path(node).exists() for node in nodes)


def normalising(network: Any, spec: EncoderSpec) -> Any:
    """A module from uint8 pixels (n, side, side, 3) to float32 features (n, dim).

    It takes pixels as they are decoded, so that four times less is copied to a GPU.
    """
    import torch

    class Normalising(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            for name in ("mean", "std"):
                values = torch.tensor(getattr(spec.transform, name)).view(1, 3, 1, 1)
                self.register_buffer(name, values, persistent=False)

        def forward(self, pixels: Any) -> Any:
            # permuted NHWC memory is already channels-last, the fast layout for convolutions
            x = pixels.permute(0, 3, 1, 2).to(self.mean.dtype)
            return self.network((x / 255.0 - self.mean) / self.std).float()

    return Normalising().eval().requires_grad_(False)


class TorchBackend:
    """Replicas of a network on `devices`, batch by batch in turn."""

    def __init__(self, network: Any, spec: EncoderSpec, devices: list[str]) -> None:
        import torch

        # Where the spec says fp32 a GPU may not round to TF32 on its own.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        module = normalising(network, spec)
        self._replicas = [
            (device, _copied(module, len(devices)).to(device, dtype[spec.precision]))
            for device in devices
        ]
        for _, replica in self._replicas:
            replica.to(memory_format=torch.channels_last)
        self._turn = cycle(self._replicas)
        self._copies = {
            device: torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            for device in devices
            if device.startswith("cuda")
        }
        kinds = sorted({device.split(":")[0] for device in devices})
        many = f" × {len(devices)}" if len(devices) > 1 else ""
        self.name = f"torch {torch.__version__}, {kinds[0]}{many}, {spec.precision}"
        self.batch_size = CPU_BATCH if kinds == ["cpu"] else GPU_BATCH
        self.in_flight = 1 if kinds == ["cpu"] else 2 * len(devices)

    def start(self, squares: U8) -> Pending:
        import torch

        device, network = next(self._turn)
        pixels = torch.from_numpy(np.ascontiguousarray(squares))
        with torch.inference_mode():
            if device not in self._copies:
                features = network(pixels.to(device)).cpu()
                return lambda: np.asarray(features.numpy(), dtype=np.float32)
            return self._start_cuda(device, network, pixels)

    def _start_cuda(self, device: str, network: Any, pixels: Any) -> Pending:
        """Copies on a stream of their own, so that they go on while the network computes."""
        import torch

        copying, computing = self._copies[device], torch.cuda.current_stream(device)
        with torch.cuda.stream(copying):
            there = pixels.pin_memory().to(device, non_blocking=True)
        computing.wait_stream(copying)
        there.record_stream(computing)
        with torch.cuda.device(device):
            features = network(there)
            back = torch.empty(features.shape, dtype=torch.float32, pin_memory=True)
            back.copy_(features, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(computing)

        def wait() -> F32:
            done.synchronize()
            return np.array(back.numpy(), dtype=np.float32)

        return wait


def torch_devices(device: str) -> list[str]:
    """`cuda` is every GPU that CUDA_VISIBLE_DEVICES shows."""
    import torch

    if device != "cuda":
        return [device]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def _copied(module: Any, replicas: int) -> Any:
    import copy

    return copy.deepcopy(module) if replicas > 1 else module
