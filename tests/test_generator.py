"""Convolutional DRAW: order of prior and posterior, exactness of the KL, what depends on what."""

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from gqn_transfer.generator import Core, Generator, GeneratorConfig, State
from gqn_transfer.latents import Gaussian, LatentStep, Rollout, kl_divergence
from gqn_transfer.upsampling import LinearUpsampler

TINY = GeneratorConfig(
    image_size=16, layers=3, hidden_channels=8, latent_channels=2, canvas_channels=8,
    condition_channels=8, latent_map=4,
)  # fmt: skip


PAPERS_WAYS = {"conditioning": "broadcast", "picture": "linear"}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(config: GeneratorConfig = TINY, code_shape: tuple[int, ...] = (6,)) -> Generator:
    """A generator whose layers that start at zero were woken, as after some training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Generator(config, code_shape)
        for parameter in network.condition.code.parameters():
            if parameter.eq(0).all():
                nn.init.normal_(parameter, std=0.1)
    return network


def inputs(batch: int, code_shape: tuple[int, ...] = (6,), seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Scene codes, query viewpoints, query images."""
    source = seeded(seed)
    r = torch.randn(batch, *code_shape, generator=source)
    viewpoints = torch.randn(batch, 7, generator=source)
    return r, viewpoints, torch.rand(batch, 3, 16, 16, generator=source)


def cores(network: Generator) -> list[Core]:
    return cast("list[Core]", list(network.cores))


def bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def posterior(rollout: Rollout, layer: int) -> Gaussian:
    found = rollout.steps[layer].posterior
    assert found is not None
    return found


def test_kl_agrees_with_torch_distributions() -> None:
    p, q = (Gaussian(*torch.randn(2, 4, 2, 3, 3, generator=seeded(s))) for s in (0, 1))
    expected = torch_kl(Normal(q.mean, q.log_std.exp()), Normal(p.mean, p.log_std.exp()))
    torch.testing.assert_close(kl_divergence(q, p), expected.sum((1, 2, 3)))
    assert kl_divergence(p, p).eq(0).all()


def test_log_prob_agrees_with_torch_distributions() -> None:
    p = Gaussian(*torch.randn(2, 4, 2, 3, 3, generator=seeded(0)))
    value = torch.randn(4, 2, 3, 3, generator=seeded(1))
    expected = Normal(p.mean, p.log_std.exp()).log_prob(value).sum((1, 2, 3))
    torch.testing.assert_close(p.log_prob(value), expected)


def test_extreme_parameters_stay_finite() -> None:
    wide, narrow = (
        Gaussian.from_parameters(torch.full((1, 2, 1, 1), v, dtype=torch.bfloat16)) for v in (1e4, -1e4)
    )
    assert wide.mean.dtype == torch.float32
    assert kl_divergence(wide, narrow).isfinite().all()
    assert kl_divergence(narrow, wide).isfinite().all()


def test_kl_per_layer_is_positive_and_equals_its_monte_carlo_estimate() -> None:
    network, samples = build(), 8192
    repeated = (x.expand(samples, *x.shape[1:]) for x in inputs(1))
    with torch.no_grad():
        rollout = network(*repeated, seeded(0))
    kl = rollout.kl()
    assert kl.shape == (3, samples)
    assert kl.min() > 0
    difference = kl.sum(0) + rollout.log_ratio()
    error = difference.std().item() / math.sqrt(samples)
    assert abs(difference.mean().item()) < 4 * error
    assert error < 0.05 * kl.sum(0).mean().item()


def test_kl_is_zero_when_the_posterior_is_the_prior() -> None:
    network = build()
    for core in cores(network):
        for conv in (core.generation, core.static_generation):
            nn.init.zeros_(conv.weight[-4:])
        nn.init.zeros_(bias(core.static_generation)[-4:])
        nn.init.zeros_(core.posterior.weight)
    assert network(*inputs(2), seeded(0)).kl().eq(0).all()


def test_prior_comes_from_the_state_before_the_step() -> None:
    network = build()
    r, viewpoints, images = inputs(2)
    first, second = (network(r, viewpoints, images, seeded(s)) for s in (0, 1))
    predicted = network(r, viewpoints, None, seeded(2))
    # state 0 holds no latent yet, so the first prior is a function of r and the viewpoint alone
    torch.testing.assert_close(first.steps[0].prior, second.steps[0].prior, rtol=0, atol=0)
    torch.testing.assert_close(first.steps[0].prior, predicted.steps[0].prior)
    change = first.steps[1].prior.mean - second.steps[1].prior.mean
    assert change.abs().max() > 1e-4
    other = network(r.flip(0), viewpoints, None, None)
    assert not torch.allclose(other.steps[0].prior.mean, predicted.steps[0].prior.mean)


def test_posterior_comes_from_the_inference_state_after_its_update() -> None:
    network = build()
    r, viewpoints, images = inputs(2)
    first, second = (network(r, viewpoints, x, seeded(0)) for x in (images, images.flip(0)))
    change = posterior(first, 0).mean - posterior(second, 0).mean
    assert change.abs().max() > 1e-3


def test_training_and_prediction_use_the_same_prior() -> None:
    """The prior along a latent path does not depend on which mode drew the path."""
    network = build()
    for core in cores(network):  # the posterior is N(0, tiny): both modes then follow z = 0
        nn.init.zeros_(core.posterior.weight)
        for conv in (core.generation, core.static_generation):
            nn.init.zeros_(conv.weight[-4:-2])  # prior means
        nn.init.zeros_(bias(core.static_generation)[-4:-2])
    r, viewpoints, images = inputs(2)
    reconstruction, prediction = (network(r, viewpoints, x) for x in (images, None))
    for one, other in zip(reconstruction.steps, prediction.steps, strict=True):
        torch.testing.assert_close(one.prior, other.prior)
    torch.testing.assert_close(reconstruction.mean, prediction.mean)


def test_prediction_never_touches_the_inference_network() -> None:
    network = build()
    r, viewpoints, _ = inputs(2)
    before = network(r, viewpoints, None, seeded(0)).mean
    core = cores(network)[0]
    inference = (core.inference, core.static_inference, core.posterior, network.query_encoder)
    for module in inference:
        for parameter in module.parameters():
            nn.init.constant_(parameter, math.nan)
    torch.testing.assert_close(network(r, viewpoints, None, seeded(0)).mean, before)


def test_every_layer_and_the_canvas_reach_the_image() -> None:
    network = build()
    r, viewpoints, images = inputs(2)
    rollout = network(r, viewpoints, images, seeded(0))
    latents = [step.z for step in rollout.steps]
    for gradient in torch.autograd.grad(rollout.mean.square().sum(), latents):
        assert gradient.abs().max() > 1e-6


def test_the_canvas_accumulates_and_the_posterior_sees_all_states() -> None:
    core = cores(build())[0]
    source = seeded(0)
    condition, query, *rest = (torch.randn(2, 8, 4, 4, generator=source) for _ in range(7))
    state, static, noise = State(*rest), core.static(condition, query), torch.randn(2, 2, 4, 4)
    after, step = core(state, static, noise, first=False)
    torch.testing.assert_close(after.u - state.u, core.canvas(after.h_g))
    for name in ("u", "h_e", "h_g"):
        _, other = core(state._replace(**{name: 0 * getattr(state, name)}), static, noise, first=False)
        assert step.posterior is not None
        assert other.posterior is not None
        assert (step.posterior.mean - other.posterior.mean).abs().max() > 1e-3, name
        if name != "h_g":
            torch.testing.assert_close(step.prior, other.prior)  # the prior sees neither


def test_same_seed_same_sample() -> None:
    network = build()
    r, viewpoints, _ = inputs(2)
    one, same, other = (network(r, viewpoints, None, seeded(s)).mean for s in (5, 5, 6))
    assert torch.equal(one, same)
    assert (one - other).abs().max() > 1e-3
    assert torch.equal(network(r, viewpoints).mean, network(r, viewpoints).mean)


def test_sampling_leaves_the_global_random_state_alone() -> None:
    network = build()
    before = torch.get_rng_state()
    network(*inputs(2), seeded(0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("layers", [2, 12])
def test_unshared_cores_add_their_parameters(layers: int) -> None:
    shared = build(replace(TINY, layers=layers))
    unshared = build(replace(TINY, layers=layers, shared_core=False))
    counts = [sum(p.numel() for p in module.parameters())
              for module in (shared, unshared, cores(shared)[0])]  # fmt: skip
    assert counts[1] - counts[0] == (layers - 1) * counts[2]


@pytest.mark.parametrize("change", [{}, PAPERS_WAYS], ids=["ours", "the paper's"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("code_shape", [(6,), (6, 4, 4), (6, 8, 8)])
def test_every_parameter_gets_a_finite_gradient(
    code_shape: tuple[int, ...], shared: bool, change: dict[str, Any]
) -> None:
    network = build(replace(TINY, shared_core=shared, **change), code_shape)
    with torch.autocast("cpu", torch.bfloat16):
        rollout = network(*inputs(2, code_shape), seeded(0))
    assert rollout.mean.dtype == rollout.kl().dtype == torch.float32
    (rollout.kl().sum() + rollout.mean.square().sum()).backward()
    unused = () if shared else ("cores.0.generation.weight", "cores.0.inference.weight")
    for name, parameter in network.named_parameters():
        if name in unused:  # the state is zero in the first layer
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_bfloat16_stays_close_to_float32() -> None:
    network = build()
    exact = network(*inputs(4), seeded(0))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(*inputs(4), seeded(0))
    assert (rounded.mean - exact.mean).abs().mean() < 0.05 * exact.mean.std()
    torch.testing.assert_close(rounded.kl(), exact.kl(), rtol=0.1, atol=0.1)


def test_it_starts_alive_with_r_quiet_and_the_viewpoint_heard() -> None:
    network = build(GeneratorConfig(), (256,))
    r, viewpoints = torch.randn(4, 256, generator=seeded(0)), inputs(4)[1]
    with torch.no_grad():
        mean, other_r, other_view = (
            network(*x).mean for x in ((r, viewpoints), (r.flip(0), viewpoints), (r, viewpoints.flip(0)))
        )
    assert 0 < (mean - other_r).abs().mean() < (mean - other_view).abs().mean()
    assert mean.std() > 0.05
    assert mean.std(dim=(2, 3)).mean() > 0.05  # differs over space
    assert (mean - other_view).abs().mean() > 0.02


def test_the_sum_over_more_views_is_normalised() -> None:
    network = build()
    r, viewpoints, _ = inputs(2)
    torch.testing.assert_close(
        network(r, viewpoints).mean, network(5 * r, viewpoints).mean, rtol=1e-3, atol=1e-4
    )


def test_a_linear_picture_is_the_papers_canvas_at_full_resolution() -> None:
    """States added to a canvas by a transposed convolution, read by a 1x1 one: cells mapped to pixels."""
    states = [torch.randn(2, 5, 4, 4, generator=seeded(k)) for k in range(3)]
    add, read = nn.ConvTranspose2d(5, 7, 4, 4, bias=False), nn.Conv2d(7, 3, 1)
    canvas = torch.stack([add(state) for state in states]).sum(0)
    ours = LinearUpsampler(5, 4, 3)
    to_pixels = cast(nn.Conv2d, ours.output[0])
    with torch.no_grad():
        weight = torch.einsum("cu,kuij->cijk", read.weight[:, :, 0, 0], add.weight)
        to_pixels.weight.copy_(weight.reshape(48, 5, 1, 1))
        bias(to_pixels).copy_(bias(read).repeat_interleave(16))
    torch.testing.assert_close(ours(torch.stack(states).sum(0)), read(canvas))


@pytest.mark.parametrize("code_shape", [(6,), (6, 4, 4), (6, 8, 8)])
@pytest.mark.parametrize("ways", [PAPERS_WAYS, {"conditioning": "points"}])
def test_other_conditions_hear_code_and_viewpoint(ways: dict[str, Any], code_shape: tuple[int, ...]) -> None:
    network = build(replace(TINY, **ways), code_shape)
    r, viewpoints, _ = inputs(2, code_shape)
    mean = network(r, viewpoints).mean
    assert (mean - network(r.flip(0), viewpoints).mean).abs().max() > 1e-3
    assert (mean - network(r, viewpoints.flip(0)).mean).abs().max() > 1e-3
    assert mean.std(dim=(2, 3)).min() > 1e-3  # differs over space, whatever the code's shape


@pytest.mark.parametrize("latent_map", [16, 8, 4, 2])
def test_image_size_follows_from_the_latent_map(latent_map: int) -> None:
    network = build(replace(TINY, latent_map=latent_map, core_kernel=5))
    rollout = network(*inputs(2), seeded(0))
    assert rollout.mean.shape == (2, 3, 16, 16)
    assert rollout.steps[0].z.shape == (2, 2, latent_map, latent_map)


@pytest.mark.parametrize(
    ("field", "value"),
    [("layers", 0), ("layers", 13), ("core_kernel", 4), ("latent_map", 5), ("latent_map", 32),
     ("hidden_channels", 0), ("image_size", 24), ("conditioning", "film"), ("picture", "oil"),
     ("scene_radius", -1)],
)  # fmt: skip
def test_wrong_sizes_are_refused(field: str, value: int) -> None:
    change: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=rf"{field}.*{value}"):
        replace(TINY, **change)


def test_balancing_moves_the_gradient_of_the_kl_and_not_its_value() -> None:
    def gradients(balance: float) -> tuple[Tensor, Tensor, Tensor]:
        means = [torch.full((1, 1, 1, 1), value, requires_grad=True) for value in (0.0, 1.0)]
        prior, posterior = (Gaussian(mean, torch.zeros(1, 1, 1, 1)) for mean in means)
        rollout = Rollout(None, (LatentStep(prior, posterior, means[1]),))  # type: ignore[arg-type]
        kl = rollout.kl(balance)
        kl.sum().backward()
        return kl.detach(), *(mean.grad for mean in means)

    value, to_prior, to_posterior = gradients(0.5)
    value_too, more_to_prior, less_to_posterior = gradients(0.75)
    torch.testing.assert_close(value_too, value)
    torch.testing.assert_close(more_to_prior, 1.5 * to_prior)
    torch.testing.assert_close(less_to_posterior, 0.5 * to_posterior)
