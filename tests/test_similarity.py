"""Likeness of codes: known answers for rotated, mixed, unrelated and constant ones."""

import math

import pytest
import torch

from gqn_transfer.similarity import agreement_where_shown, linear_cka, probe_agreement


def codes(seed: int, n: int = 2000, c: int = 8) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed))


def rotation() -> torch.Tensor:
    return torch.linalg.qr(codes(9, 8)).Q


def test_cka_ignores_rotation_scale_and_shift() -> None:
    one = codes(0)
    assert linear_cka(one, one) == pytest.approx(1)
    assert linear_cka(one, 3 * one @ rotation() + 5) == pytest.approx(1)
    assert linear_cka(one, torch.cat([one, one], 1)) == pytest.approx(1)


def test_cka_of_unrelated_codes_is_near_zero_and_falls_between_with_noise() -> None:
    one, other = codes(0), codes(1)
    assert linear_cka(one, other) < 0.02
    halfway = linear_cka(one, one + other)
    assert 0.3 < halfway < 0.7
    assert linear_cka(other, one) == pytest.approx(linear_cka(one, other))


def test_cka_by_its_definition() -> None:
    """Through the Gram matrices, as the paper writes it."""
    one, other = codes(0, 50, 4).double(), codes(1, 50, 6).double() + codes(0, 50, 6).double()
    centre = torch.eye(50) - 1 / 50
    k, m = (centre.double() @ (x @ x.T) @ centre.double() for x in (one, other))
    assert linear_cka(one, other) == pytest.approx(float((k * m).sum() / (k.norm() * m.norm())))


def test_a_probe_agrees_in_the_same_numbers_alone() -> None:
    one = codes(0)
    quantity = one @ codes(2, 8, 3)
    assert probe_agreement(one, one, quantity) == pytest.approx(1, abs=1e-3)
    assert probe_agreement(one, one + 0.1 * codes(1), quantity) == pytest.approx(0.99, abs=0.01)
    assert probe_agreement(one, one @ rotation(), quantity) < 0.5
    assert probe_agreement(one, codes(3), quantity) < 0


def test_what_hardly_a_view_shows_is_not_read() -> None:
    target = torch.zeros(2000, 3)
    assert math.isnan(agreement_where_shown(codes(0), codes(0), target))
    target[:1000] = codes(0)[:1000, :3]
    assert agreement_where_shown(codes(0), codes(0), target) == pytest.approx(1, abs=1e-3)


def test_constant_codes_and_other_shapes() -> None:
    assert torch.isnan(torch.tensor(linear_cka(codes(0), torch.ones(2000, 3))))
    with pytest.raises(ValueError, match=r"of the same N views"):
        linear_cka(codes(0), codes(1, 10))
    with pytest.raises(ValueError, match="a probe needs the same length"):
        probe_agreement(codes(0), codes(1, c=4), codes(2))
