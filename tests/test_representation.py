"""Representation networks: the paper's sizes, free sizes, and what a code depends on."""

import math

import pytest
import torch
from torch import nn

from gqn_transfer.rays import ray_features
from gqn_transfer.representation import (
    REPRESENTATIONS,
    Conv,
    Norm,
    Pyramid,
    Representation,
    Tower,
    viewpoint_features,
)

NAMES = list(REPRESENTATIONS)


def inputs(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, size, size, generator=generator)
    return images, torch.randn(batch, 7, generator=generator)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "expected"), [("pyramid", 2_139_872), ("tower", 1_962_368), ("pool", 1_962_368)]
)
def test_the_papers_parameter_counts(name: str, expected: int) -> None:
    assert count(REPRESENTATIONS[name](64, 256)) == expected


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("code", [32, 100])
@pytest.mark.parametrize("name", NAMES)
def test_code_has_the_promised_shape(name: str, code: int, size: int) -> None:
    network = REPRESENTATIONS[name](size, code)
    expected = (code, size // 4, size // 4) if name == "tower" else (code,)
    assert network.code_shape == expected
    assert network(*inputs(2, size)).shape == (2, *expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_code_depends_on_its_own_view_only(name: str) -> None:
    network = REPRESENTATIONS[name](16, 32)
    images, viewpoints = inputs(3, 16)
    torch.testing.assert_close(network(images, viewpoints)[1:2], network(images[1:2], viewpoints[1:2]))
    batch_dependent = (nn.BatchNorm2d, nn.Dropout)
    assert not any(isinstance(module, batch_dependent) for module in network.modules())


@pytest.mark.parametrize("name", NAMES)
def test_a_code_depends_on_image_and_viewpoint(name: str) -> None:
    network = REPRESENTATIONS[name](16, 32)
    images, viewpoints = inputs(2, 16)
    code = network(images, viewpoints)
    assert not torch.allclose(code, network(images.flip(0), viewpoints), atol=1e-5)
    assert not torch.allclose(code, network(images, viewpoints.flip(0)), atol=1e-5)


@pytest.mark.parametrize("network", [Conv(32, 16), Pyramid(32, 16)])
def test_a_code_knows_where_things_are(network: Representation) -> None:
    images, viewpoints = torch.zeros(2, 3, 32, 32), torch.zeros(2, 7)
    images[0, :, 4:8, 4:8] = 1
    images[1, :, 20:24, 20:24] = 1  # the same patch, moved by the total stride
    first, second = network(images, viewpoints)
    assert (first - second).abs().max() > 1e-4


def test_a_relu_follows_the_towers_last_layer() -> None:
    network = Tower(8, 16)
    assert network.leave.bias is not None
    nn.init.constant_(network.leave.bias, -1e3)
    assert network(*inputs(1, 8)).eq(0).all()


@pytest.mark.parametrize(("name", "divisor"), [("conv", 8), ("pyramid", 8), ("tower", 4)])
def test_wrong_image_size_is_refused(name: str, divisor: int) -> None:
    with pytest.raises(ValueError, match=f"divisible by {divisor}, got {divisor + 2}"):
        REPRESENTATIONS[name](divisor + 2, 32)


@pytest.mark.parametrize("image_size", [8, 24, 40, 64, 72])
@pytest.mark.parametrize("name", ["conv", "conv-rays", "pyramid"])
def test_image_sizes_divisible_by_eight_are_taken(name: str, image_size: int) -> None:
    """Every pixel counts, those of the last row and column too."""
    network, (images, viewpoints) = REPRESENTATIONS[name](image_size, 32), inputs(1, image_size)
    images.requires_grad_()
    code = network(images, viewpoints)
    assert code.shape == (1, 32)
    code.square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum((0, 1)) > 0).all()


def test_rays_of_one_camera_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nothing learns from: agents with a fixed camera encode many images of one viewpoint."""
    network, (images, viewpoints) = REPRESENTATIONS["conv-rays"](16, 32), inputs(3, 16)
    asked: list[int] = []

    def counted(viewpoints: torch.Tensor, size: int, field_of_view: float) -> torch.Tensor:
        asked.append(len(viewpoints))
        return ray_features(viewpoints, size, field_of_view)

    monkeypatch.setattr("gqn_transfer.representation.ray_features", counted)
    of_one = viewpoints[:1].expand(3, 7)
    learned_from = network(images, of_one)
    with torch.no_grad():
        torch.testing.assert_close(network(images, of_one), learned_from)
        network(images, viewpoints)
    assert asked == [3, 1, 3]


def test_compiled_it_is_one_graph_which_looks_at_no_values() -> None:
    """A look would break the graph of a network that `--compiled` trains, in its evaluations."""
    network, (images, viewpoints) = REPRESENTATIONS["conv-rays"](16, 32), inputs(2, 16)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images, viewpoints), network(images, viewpoints))


def test_viewpoint_features() -> None:
    viewpoints = torch.tensor([[0.5, -1.0, 0.25, 0.6, 0.8, 1.0, 0.0]])
    features = viewpoint_features(viewpoints)
    assert features.shape == (1, 43)
    torch.testing.assert_close(features[:, :7], viewpoints)
    # x = 0.5 m at frequencies 1 and 2 times pi/2; y = -1 m at frequency 1
    expected = torch.tensor([math.sqrt(0.5), 1.0])
    torch.testing.assert_close(features[0, 7:9], expected)
    torch.testing.assert_close(features[0, 13], torch.tensor(-1.0))
    torch.testing.assert_close((features[0, 7:25] ** 2 + features[0, 25:] ** 2), torch.ones(18))


def test_viewpoint_features_keep_their_phase_under_autocast() -> None:
    viewpoints = torch.tensor([[1.43, 0.37, 1.11, 1, 0, 1, 0]])
    with torch.autocast("cpu", torch.bfloat16):
        assert viewpoint_features(viewpoints).dtype == torch.float32
        torch.testing.assert_close(viewpoint_features(viewpoints)[0, 7].item(),
                                   math.sin(1.43 * math.pi / 2), atol=1e-5, rtol=0)  # fmt: skip


def test_normalisation_is_of_floats_under_autocast() -> None:
    norm, maps = Norm(8, 64), torch.randn(4, 64, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        seen = norm(maps.bfloat16())
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen, norm(maps.bfloat16().float()))
