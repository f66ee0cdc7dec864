"""bf16 where it beats fp32: AMX, ARM's, AMD's vectors; not Intel's vectors alone. Tiny numbers are zero."""

import pytest
import torch

from gqn_transfer.precision import has_fast_bf16, without_subnormals

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True}, True),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"sve_bf16": True}, True),
        ({"avx512_bf16": False, "avx2": True}, False),
        ({}, False),
    ],
)
def test_which_processors_compute_in_bf16(
    capabilities: dict[str, object], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_fast_bf16(CPU) is fast


def tiny() -> float:
    return float(torch.tensor(1e-30) * torch.tensor(1e-9))


def test_tiny_numbers_are_zero_and_then_again_what_they_were() -> None:
    assert tiny() > 0
    with without_subnormals():
        assert tiny() == 0
        with without_subnormals():
            pass
        assert tiny() == 0
    assert tiny() > 0
