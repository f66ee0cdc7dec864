"""Data-parallel training: who this process is among those that `torchrun` started, and what they agree on."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
import torch.distributed as dist


class Ranks(NamedTuple):
    """This process's number and how many there are."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """True for the one that writes files and speaks."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """This rank's scenes among those of the whole batch."""
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def any(self, mine: bool, device: torch.device) -> bool:
        """True on every rank if it is on one."""
        if self.size == 1:
            return mine
        flag = torch.tensor(float(mine), device=device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            dist.barrier()


def leave() -> None:
    """Part from the other processes, where there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()


ALONE = Ranks(0, 1)


def join(device: torch.device) -> Ranks:
    """Meet the other processes of a `torchrun`: nccl between GPUs, gloo between CPUs; alone without one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Ranks(dist.get_rank(), size)


def processes_here() -> int:
    """How many processes of the `torchrun` this machine has; 1 without one."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process: `torchrun` numbers those of one machine."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device
