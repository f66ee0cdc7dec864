"""Where on a Ray cluster cells run, and with how much of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RayOptions:
    """Options of `gqn-bench run --engine ray`: the cluster, and what a cell takes of it."""

    address: str = "auto"
    """Of the cluster; auto finds the one that this machine belongs to."""
    cpus: float = 1.0
    """Of each cell."""
    gpus: float = 0.0
    """Of each cell; 0.1 puts ten of them on one."""
