"""Workers: the processes that share one search (``torchrun``), and what they must agree on.

Every worker draws the same paths, because draws depend on the seed and the step alone; each takes its own share of the
images, and gradients are averaged. So all replicas stay equal to the last bit, and all derive the same network.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from search.errors import RestartsWouldHang, TooFewGpus, WorkersDiffer

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Workers:
    """This process among ``count``. With one process nothing is communicated."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        """The first worker alone writes files and talks to the device."""
        return self.rank == 0

    def share(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """This worker's images and labels of a batch that all workers know, on its device."""
        images, labels = (part[self.rank :: self.count].to(self.device, non_blocking=True) for part in batch)
        return images.contiguous(memory_format=torch.channels_last), labels

    def weight_of(self, own_count: int, batch_count: int) -> float:
        """What to multiply a mean over this worker's share with, so that the mean over workers is that of the batch."""
        return own_count * self.count / batch_count

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all workers, in one message per dtype."""
        if self.count == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            group = [tensor for tensor in tensors if tensor.dtype == dtype]
            message = torch.cat([tensor.detach().reshape(-1).to(self.device) for tensor in group])
            distributed.all_reduce(message)
            message /= self.count
            for tensor, mean in zip(group, torch.split(message, [t.numel() for t in group]), strict=True):
                tensor.detach().copy_(mean.view_as(tensor))

    def from_first_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by the first worker's."""
        if self.count == 1:
            return
        for tensor in tensors:
            message = tensor.detach().contiguous().to(self.device)
            distributed.broadcast(message, src=0)
            tensor.detach().copy_(message)

    def require_same(self, facts: Mapping[str, str]) -> None:
        """Raise, on all workers, unless each has the same facts; their names must be the same everywhere.

        Raises:
            WorkersDiffer: one has others; what differs is named.
        """
        if self.count == 1:
            return
        digests = [hashlib.sha256(value.encode()).digest()[:8] for value in facts.values()]
        own = torch.tensor([int.from_bytes(one, "little", signed=True) for one in digests], device=self.device)
        found = [torch.empty_like(own) for _ in range(self.count)]
        distributed.all_gather(found, own)
        for rank, theirs in enumerate(found):
            differing = [name for name, same in zip(facts, (theirs == found[0]).tolist(), strict=True) if not same]
            if differing:
                raise WorkersDiffer(
                    f"Worker {rank} of {self.count} has another {' and another '.join(differing)} than the first one. "
                    f"Give every machine the same version, run folder and images, and start again."
                )

    def wait(self) -> None:
        """Go on when all workers are here."""
        if self.count > 1:
            distributed.barrier()


ALONE = Workers()


@contextmanager
def join_workers() -> Iterator[Workers]:
    """The workers that ``torchrun`` started (nccl where there are GPUs, else gloo), each with a GPU of its own where
    there are any; without ``torchrun`` this process alone, on the first GPU or else on the CPU.

    Raises:
        RestartsWouldHang: ``torchrun`` is to restart workers, with a store in which restarted ones find dead addresses.
        TooFewGpus: this machine has GPUs, but fewer than it has workers.
    """
    device = _own_device(int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Workers(device=device)
        return
    _require_restarts_that_work()
    # Optimizers import it at their first step, and it keeps the group that it finds: destroying the group would then
    # leave gloo's threads, and one that frees a tensor while the interpreter ends aborts the process (exit code -6).
    importlib.import_module("torch._dynamo")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()


def _own_device(place: int, worker_count: int) -> torch.device:
    """The device of the worker in this place among those of this machine."""
    if not torch.cuda.is_available():
        return CPU
    gpu_count = torch.cuda.device_count()
    if worker_count > gpu_count:
        raise TooFewGpus(
            f"{worker_count} workers were started on this machine, which has {gpu_count} GPUs; each needs one of its "
            f"own. Give torchrun --nproc-per-node {gpu_count}, or put CUDA_VISIBLE_DEVICES= before it to use the CPU."
        )
    return torch.device("cuda", place)


def _require_restarts_that_work() -> None:
    """Workers that ``torchrun`` starts again find the addresses of the dead ones in the store that it shares with them,
    and wait for each other for ever (seen with torch 2.13 and gloo; github.com/pytorch/pytorch/issues/135712)."""
    may_restart = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
    if may_restart and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise RestartsWouldHang(
            "torchrun --max-restarts: workers that are started again would wait for ever, as torchrun keeps the dead "
            "ones' addresses. Put TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun (on each machine)."
        )
