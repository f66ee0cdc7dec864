"""`EncoderAdam`: a rate of its own for the encoder, whatever SB3 sets, and Adam for the rest."""

import pytest
import torch
from stable_baselines3.common.utils import update_learning_rate

from gqn_transfer.agents.optimiser import EncoderAdam


def pair() -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    encoder, head = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    encoder.of_encoder = True  # type: ignore[attr-defined]
    return encoder, head


def step(optimiser: torch.optim.Optimizer, *parameters: torch.nn.Parameter) -> None:
    for parameter in parameters:
        parameter.grad = torch.tensor([1.0, -2.0, 0.5])
    optimiser.step()


def test_the_encoders_rate_is_a_share_of_what_sb3_sets() -> None:
    encoder, head = pair()
    optimiser = EncoderAdam([encoder, head], lr=9.0, encoder_rate=0.25)
    update_learning_rate(optimiser, 1e-2)  # SB3 does this before every update
    step(optimiser, encoder, head)
    torch.testing.assert_close(1 - encoder, 0.25 * (1 - head))
    assert [group["lr"] for group in optimiser.param_groups] == [1e-2, 1e-2]


def test_it_is_adam_for_the_rest() -> None:
    (_, ours), (_, theirs) = pair(), pair()
    optimisers = EncoderAdam([ours], lr=1e-2, eps=1e-5), torch.optim.Adam([theirs], lr=1e-2, eps=1e-5)
    for _ in range(3):
        step(optimisers[0], ours), step(optimisers[1], theirs)
    assert torch.equal(ours, theirs)


def test_the_rate_rises_from_nothing() -> None:
    encoder, head = pair()
    optimiser = EncoderAdam([encoder, head], lr=1e-2, warm_up=4)
    moved = []
    for _ in range(6):
        before = encoder.detach().clone()
        step(optimiser, encoder, head)
        moved.append(float((encoder.detach() - before).abs().max()))
    assert moved == pytest.approx([0, 0.0025, 0.005, 0.0075, 0.01, 0.01], abs=1e-5)


def test_the_count_of_steps_is_part_of_its_state() -> None:
    encoder, head = pair()
    first = EncoderAdam([encoder, head], lr=1e-2, warm_up=4)
    step(first, encoder, head), step(first, encoder, head)
    second = EncoderAdam([encoder, head], lr=1e-2, warm_up=4)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[1]["steps"] == 2


def test_negative_rates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"encoder_rate=-1, warm_up=0: expected at least 0"):
        EncoderAdam(pair(), encoder_rate=-1)
