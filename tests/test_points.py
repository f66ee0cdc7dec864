"""Points stand where the code puts them, and rays see them by geometry alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gqn_transfer.envs.cameras import DOME, WORKSPACE_CENTRE
from gqn_transfer.generator import GeneratorConfig
from gqn_transfer.points import FEATURES, POINTS, RAYS_PER_CELL, Points
from gqn_transfer.rays import SCENE_CENTRE, camera_rays
from gqn_transfer.upsampling import initialise

CODE, SIZE = 16, 4
GRID = SIZE * RAYS_PER_CELL
SIZES = GeneratorConfig(image_size=8 * SIZE, latent_map=SIZE, condition_channels=8)


@pytest.fixture
def points() -> Points:
    torch.manual_seed(0)
    network = Points((CODE,), SIZES)
    initialise(network)
    return network


def viewpoints(count: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([DOME.sample(rng).viewpoint for _ in range(count)]))


def put_all_points_at(network: Points, place: Tensor) -> None:
    """Every point small and at one place, with features of one."""
    network.points.weight.data.zero_()
    numbers = torch.zeros(POINTS, 4 + FEATURES)
    numbers[:, :3] = (place - network.centre) / network.radius
    numbers[:, 3], numbers[:, 4:] = 4.0, 1.0
    network.points.bias.data.copy_(numbers.flatten())
    network.start.data.zero_()


def test_the_ray_through_a_point_sees_it_most(points: Points) -> None:
    seen_from = viewpoints(6)
    origins, directions = camera_rays(seen_from, GRID, points.field_of_view)
    for camera, (row, column) in enumerate([(0, 0), (3, 4), (7, 7), (2, 6), (5, 1), (4, 4)]):
        put_all_points_at(points, origins[camera, 0, 0] + 1.4 * directions[camera, row, column])
        one = seen_from[camera : camera + 1]
        gathered = points.gather(points.place(torch.zeros(1, CODE)), one, GRID)[0, :, 0].unflatten(
            0, (GRID, GRID)
        )
        assert divmod(int(gathered.argmax()), GRID) == (row, column)
        assert gathered.max().item() == pytest.approx(POINTS, rel=1e-3)  # all of them lie on this ray
        assert gathered[(row + 4) % GRID, (column + 4) % GRID] < 0.05 * POINTS


def test_depth_is_measured_from_the_middle_of_the_scene(points: Points) -> None:
    seen_from = viewpoints(1)
    _, direction = camera_rays(seen_from, 1, points.field_of_view)
    centre, forward = torch.tensor(SCENE_CENTRE), direction[0, 0, 0]
    for nearer in (-0.2, 0.0, 0.3):
        put_all_points_at(points, centre - nearer * forward)
        features = points.gather(points.place(torch.zeros(1, CODE)), seen_from, 1)[0, 0]
        expected = -nearer / points.radius
        assert (features[FEATURES] / features[0]).item() == pytest.approx(expected, abs=0.02)


def test_a_low_precision_moves_no_point(points: Points) -> None:
    code, seen_from = torch.randn(5, CODE, generator=torch.Generator().manual_seed(0)), viewpoints(5)
    placed = points.place(code)
    precise = points.gather(placed, seen_from, GRID)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = points.gather(placed, seen_from, GRID)
    error = (rounded.float() - precise).abs().max() / precise.abs().max()
    assert error < 0.01


def test_points_begin_around_the_scene(points: Points) -> None:
    points.points.weight.data.zero_()
    places, precisions, _ = points.place(torch.zeros(1, CODE))
    away = (places[0] - torch.tensor(SCENE_CENTRE)).abs()
    assert away.max() <= points.radius
    assert away.mean() > 0.3 * points.radius
    assert (precisions > 0).all()


def test_codes_move_points(points: Points) -> None:
    points.quieten_code()
    codes = torch.randn(20, CODE, generator=torch.Generator().manual_seed(0))
    places, _, _ = points.place(points.code(codes))
    spread = places.std(0).mean().item()
    assert 0.02 < spread < 0.5 * points.radius


def test_codes_speak_to_rays_that_pass_no_point(points: Points) -> None:
    points.points.weight.data.zero_()
    r, seen_from = torch.randn(1, CODE, generator=torch.Generator().manual_seed(0)), viewpoints(1)
    assert (points(r, seen_from).cells - points(-r, seen_from).cells).abs().max() > 0.1


@pytest.mark.parametrize("code_shape", [(CODE,), (8, 16, 16)])
def test_maps_hear_code_and_viewpoint(code_shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = Points(code_shape, SIZES)
    initialise(network)
    r, seen_from = torch.randn(3, *code_shape), viewpoints(3)
    asked = network(r, seen_from)
    assert asked.cells.shape == (3, 8, SIZE, SIZE)
    assert [tuple(finer.shape[1:]) for finer in asked.finer] == [
        (channels, SIZE * 2**k, SIZE * 2**k) for k, channels in enumerate(network.finer, 1)
    ]
    others = network(2 * r.flip(0), seen_from), network(r, seen_from.flip(0)), network(3 * r, seen_from)
    for result, other_code, other_camera, three_times in zip(
        [asked.cells, *asked.finer], *([each.cells, *each.finer] for each in others), strict=True
    ):
        assert not torch.allclose(other_code, result, atol=1e-3)
        assert not torch.allclose(other_camera, result, atol=1e-3)
        # r is a sum over views: as many times the same view must say the same.
        torch.testing.assert_close(three_times, result, atol=5e-3, rtol=0)


def test_the_default_scene_is_the_arms() -> None:
    """Two packages that do not import each other agree."""
    np.testing.assert_allclose(SCENE_CENTRE, WORKSPACE_CENTRE)
