"""Where to compute and in which precision: `device="auto"`, bf16 where the hardware has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("auto", "bf16", "fp32")


def choose_device(device: str = "auto") -> torch.device:
    """The named device; "auto" is a GPU when there is one."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_fast_bf16(device: torch.device) -> bool:
    """True where bf16 beats fp32. A CPU without it emulates it; Intel's has the speed in AMX alone, which a
    virtual machine may hide: its AVX-512 instructions for bf16 do half the arithmetic of fp32's (0013)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    vectors = capabilities.get("avx512_bf16") and not str(capabilities.get("cpu_name")).startswith("Intel")
    return bool(vectors) or any(capabilities.get(name) for name in ("amx_bf16", "sve_bf16", "bf16"))


def autocast(device: torch.device, precision: str = "auto") -> torch.autocast:
    """Context in which forward passes run in `precision`, one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: expected one of {', '.join(PRECISIONS)}")
    enabled = precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


@contextmanager
def without_subnormals() -> Iterator[None]:
    """Context, or decorator, in which numbers too small for their exponent count as zero: a GQN's gradients
    have many, and Intel's processors crawl over them (0004).

    It holds for this thread and for those that it starts: torch starts its own with the first computation
    that several threads share.
    """
    before = (torch.tensor(1e-39) * 1.0).item() == 0.0  # there is nothing to ask
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
