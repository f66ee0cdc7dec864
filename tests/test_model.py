"""The GQN: configuration, encoding, the bound and its arithmetic, and that it learns."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gqn_transfer.model import (
    GQN,
    GQNConfig,
    bits_per_dimension,
    elbo,
    likelihood_floor,
    nats_above_floor,
    sum_views,
    to_float,
)

TINY = GQNConfig(
    image_size=16, layers=2, hidden_channels=8, latent_channels=1, canvas_channels=8,
    condition_channels=8, latent_map=4, representation="pyramid", representation_size=12,
)  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(config: GQNConfig = TINY) -> GQN:
    """A model whose layers that start at zero were woken, as after some training."""
    model = GQN(config)
    for parameter in model.generator.condition.code.parameters():
        if parameter.eq(0).all():
            nn.init.normal_(parameter, std=0.1, generator=seeded(9))
    return model


def views(scenes: int, count: int) -> tuple[Tensor, Tensor]:
    source = seeded(3)
    images = torch.rand(scenes, count, 3, 16, 16, generator=source)
    return images, torch.randn(scenes, count, 7, generator=source)


def test_config_round_trip() -> None:
    values = json.loads(json.dumps(TINY.to_dict()))
    assert GQNConfig.from_dict(values) == TINY
    assert GQNConfig.from_dict({}) == GQNConfig()


def test_config_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"unknown keys of GQNConfig hiden; known: .*layers"):
        GQNConfig.from_dict({"hiden": 3})
    with pytest.raises(ValueError, match=r"'resnet'; known: conv, conv-small, conv-rays, pyramid"):
        GQNConfig(representation="resnet")
    with pytest.raises(ValueError, match="representation_size must be at least 1, got 0"):
        GQNConfig(representation_size=0)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (GQN(TINY, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_r_is_the_sum_over_views_in_any_order() -> None:
    model = build()
    images, viewpoints = views(2, 4)
    r = model.encode(images, viewpoints)
    codes = [model.encode_views(images[:, m], viewpoints[:, m]) for m in range(4)]
    torch.testing.assert_close(r, torch.stack(codes).sum(0))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(r, model.encode(images[:, order], viewpoints[:, order]))
    mismatched = model.encode(images[:, order], viewpoints)
    assert not torch.allclose(r, mismatched, atol=1e-4)


@pytest.mark.parametrize("representation", ["pyramid", "tower"])
def test_a_mask_equals_the_subset(representation: str) -> None:
    model = build(replace(TINY, representation=representation))
    images, viewpoints = views(2, 4)
    mask = torch.tensor([[True, False, True, False], [False, False, False, True]])
    r = model.encode(images, viewpoints, mask)
    assert r.shape == (2, *model.code_shape)
    torch.testing.assert_close(r[:1], model.encode(images[:1, [0, 2]], viewpoints[:1, [0, 2]]))
    torch.testing.assert_close(r[1:], model.encode(images[1:, 3:], viewpoints[1:, 3:]))


def test_to_float() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(to_float(images), torch.tensor([0, 0.2, 1]))
    assert to_float(torch.ones(2)).eq(1).all()
    for dtype in (torch.float64, torch.int64, torch.bfloat16):
        with pytest.raises(TypeError, match=r"uint8 .* or float32 .*, got torch"):
            to_float(images.to(dtype))


def test_uint8_and_float_images_give_the_same_bound() -> None:
    model = build()
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=seeded(0))
    viewpoints = views(2, 1)[1][:, 0]
    bounds = []
    for given in (images, images.float() / 255):
        r = model.encode_views(given, viewpoints)
        bounds.append(model.elbo(r, viewpoints, given, 0.7, seeded(0)))
    torch.testing.assert_close(bounds[0], bounds[1])


def test_wrong_shapes_are_refused() -> None:
    model = build()
    images, viewpoints = views(2, 3)
    with pytest.raises(ValueError, match=r"call encode_views"):
        model.encode(images[:, 0], viewpoints[:, 0])
    with pytest.raises(ValueError, match=r"agree in their first two axes"):
        model.encode(images, viewpoints[:, :2])
    with pytest.raises(ValueError, match=r"channels first"):
        model.encode_views(images[:, 0].permute(0, 2, 3, 1), viewpoints[:, 0])
    with pytest.raises(ValueError, match=r"r must be \(B, 12\)"):
        model.predict(torch.zeros(2, 13), viewpoints[:, 0])
    with pytest.raises(ValueError, match=r"mask must be bool and \(2, 3\)"):
        model.encode(images, viewpoints, torch.ones(2, 3))


def test_floor_and_units() -> None:
    assert likelihood_floor(0.7, 64 * 64 * 3) == pytest.approx(6909.09, abs=0.01)
    assert likelihood_floor(2.0, 64 * 64 * 3) == pytest.approx(19809.3, abs=0.1)
    bound = torch.tensor([-6914.09])
    assert bits_per_dimension(bound, 12288).item() == pytest.approx(8.81176, abs=1e-5)
    assert nats_above_floor(bound, 0.7, 12288).item() == pytest.approx(5.0, abs=0.01)


def test_the_bound_is_below_the_likelihood_and_importance_weighting_reaches_it() -> None:
    """Importance weights under the posterior must agree with plain sampling from the prior.

    They disagree where the prior in training is not the one that prediction samples from.
    """
    model, samples, sigma = build(replace(TINY, latent_map=2)), 16384, 1.0
    images, viewpoints = (x[:, 0].expand(samples, *x.shape[2:]) for x in views(1, 1))
    r = model.encode(*views(1, 3)).expand(samples, -1)
    with torch.no_grad():
        posterior = model.rollout(r, viewpoints, images, seeded(0))
        prior = model.rollout(r, viewpoints, None, seeded(1))
        bound = model.elbo(r, viewpoints, images, sigma, seeded(2)).mean().item()
        log_weights = (posterior.pixels.log_likelihood(images, sigma) + posterior.log_ratio()).double()
        log_weights_of_prior = prior.pixels.log_likelihood(images, sigma).double()

    def importance_bound(weights: Tensor, k: int) -> float:
        return (weights.view(-1, k).logsumexp(1) - math.log(k)).mean().item()

    log_p = importance_bound(log_weights_of_prior, samples)
    bounds = [importance_bound(log_weights, k) for k in (1, 16, 256, samples)]
    assert bound == pytest.approx(bounds[0], abs=0.3)
    assert bound + 0.5 < bounds[1] < bounds[2]
    assert bounds[3] == pytest.approx(log_p, abs=0.3)
    assert bound < log_p


def test_bound_is_likelihood_minus_kl() -> None:
    model = build()
    images, viewpoints = views(2, 3)
    r = model.encode(images[:, 1:], viewpoints[:, 1:])
    terms = model.elbo_terms(r, viewpoints[:, 0], images[:, 0], seeded(0))
    assert terms.pixels.mean.shape == (2, 3, 16, 16)
    assert terms.kl.shape == (2, 2)
    likelihood = terms.pixels.log_likelihood(images[:, 0], 0.7)
    bound = model.elbo(r, viewpoints[:, 0], images[:, 0], 0.7, seeded(0))
    torch.testing.assert_close(bound, likelihood - terms.kl[0] - terms.kl[1])
    torch.testing.assert_close(bound, elbo(likelihood, terms.kl))


def test_predict_samples_only_when_asked() -> None:
    model = build()
    r, viewpoints = torch.randn(2, 12, generator=seeded(0)), views(2, 1)[1][:, 0]
    deterministic = model.predict(r, viewpoints)
    assert torch.equal(deterministic, model.predict(r, viewpoints, seeded(1), sample=False))
    one, same = (model.predict(r, viewpoints, seeded(1)) for _ in range(2))
    assert torch.equal(one, same)
    assert (one - deterministic).abs().max() > 1e-3


@pytest.mark.parametrize("representation", ["conv", "pyramid", "tower", "pool"])
def test_gradients_reach_every_parameter_in_bfloat16(representation: str) -> None:
    model = build(replace(TINY, representation=representation))
    images, viewpoints = views(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        codes = model.encode_views(images.flatten(0, 1), viewpoints.flatten(0, 1))
        r = sum_views(codes.unflatten(0, (2, 3))[:, 1:])
        bound = model.elbo(r, viewpoints[:, 0], images[:, 0], 0.7, seeded(0))
    assert bound.dtype == r.dtype == torch.float32
    bound.mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def coloured_scenes(source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scenes of one random colour; the top half is dark in views with x > 0."""
    colours = torch.rand(32, 1, 3, 1, 1, generator=source)
    images = colours.expand(32, 2, 3, 16, 16).clone()
    viewpoints = torch.rand(32, 2, 7, generator=source) * 2 - 1
    images[..., :8, :] *= (viewpoints[..., 0] < 0)[:, :, None, None, None]
    return images, viewpoints


def test_the_code_learns_colour_and_the_query_viewpoint_shade() -> None:
    config = replace(
        TINY, representation="conv", representation_size=32,
        hidden_channels=32, canvas_channels=32, condition_channels=32,
    )  # fmt: skip
    model, source = GQN(config), seeded(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-6)
    for step in range(201):
        images, viewpoints = coloured_scenes(source)
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(step < 200):
            r = model.encode(images[:, 1:], viewpoints[:, 1:])
            predicted = model.predict(r, viewpoints[:, 0])
        error = (predicted - images[:, 0]).square().mean()
        if step < 200:
            optimiser.zero_grad()
            (1e4 * error).backward()
            optimiser.step()
    without_colour = ((images[:, 0] - 0.5) * (images[:, 0] > 0)).square().mean()
    assert error < 0.7 * without_colour


def test_a_training_step_raises_the_bound() -> None:
    model = GQN(TINY)
    images, viewpoints = coloured_scenes(seeded(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    bounds = []
    for step in range(40):
        r = model.encode(images[:, 1:], viewpoints[:, 1:])
        bound = model.elbo(r, viewpoints[:, 0], images[:, 0], 0.3, seeded(step)).mean()
        bounds.append(bound.item())
        optimiser.zero_grad()
        (-bound).backward()
        optimiser.step()
    assert bounds[-1] > bounds[0] + 50
