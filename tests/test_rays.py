"""Rays agree with the renderer, and features are what they say."""

import math

import numpy as np
import torch

from gqn_transfer.envs.cameras import DOME, FIELD_OF_VIEW
from gqn_transfer.envs.scenes import sample_scenes
from gqn_transfer.envs.state import SCENE_COLUMNS
from gqn_transfer.rays import RAY_FEATURES, camera_rays, fourier, ray_features
from gqn_transfer.representation import FIELD_OF_VIEW as ASSUMED


def viewpoints(count: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([DOME.sample(rng).viewpoint for _ in range(count)]))


def test_the_ray_of_the_targets_pixels_passes_through_the_target() -> None:
    scenes = sample_scenes(40, 2, np.random.default_rng(0))
    first = SCENE_COLUMNS.index("target_x")
    distances = []
    for labels, seen_from, state in zip(scenes.labels, scenes.viewpoints, scenes.state, strict=True):
        origins, directions = camera_rays(torch.from_numpy(seen_from), 64, FIELD_OF_VIEW)
        for view in range(2):
            mask = torch.from_numpy(labels[view] == 2)
            if mask.sum() < 15:
                continue  # hidden by the arm
            towards = torch.from_numpy(state[first : first + 3]) - origins[view, 0, 0]
            direction = torch.nn.functional.normalize(directions[view][mask].mean(0), dim=0)
            distances.append(torch.linalg.cross(towards, direction).norm().item())
    assert len(distances) > 40
    assert np.median(distances) < 0.01
    assert max(distances) < 0.04


def test_the_model_assumes_the_cameras_field_of_view() -> None:
    assert math.isclose(ASSUMED, FIELD_OF_VIEW)


def test_directions_are_unit_and_the_middle_one_is_the_cameras() -> None:
    seen_from = viewpoints(5)
    _, directions = camera_rays(seen_from, 8, ASSUMED)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(5, 8, 8))
    middle = torch.nn.functional.normalize(directions[:, 3:5, 3:5].mean((1, 2)), dim=-1)
    yaw, pitch = torch.atan2(seen_from[:, 4], seen_from[:, 3]), torch.atan2(seen_from[:, 6], seen_from[:, 5])
    expected = torch.stack([pitch.cos() * yaw.cos(), pitch.cos() * yaw.sin(), pitch.sin()], dim=1)
    torch.testing.assert_close(middle, expected)


def test_a_line_has_the_same_moment_wherever_the_camera_stands_on_it() -> None:
    here = viewpoints(3)
    direction = camera_rays(here, 1, ASSUMED)[1][:, 0, 0]  # one cell: the line of sight
    nearer = torch.cat([here[:, :3] + 0.4 * direction, here[:, 3:]], dim=1)
    one, other = (ray_features(v, 1, ASSUMED)[..., 3:] for v in (here, nearer))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_features_have_the_promised_length() -> None:
    assert ray_features(viewpoints(2), 4, ASSUMED).shape == (2, 4, 4, RAY_FEATURES)
    torch.testing.assert_close(
        fourier(torch.tensor([[0.5]]), (1, 2)),
        torch.tensor([[math.sin(math.pi / 4), 1.0, math.cos(math.pi / 4), 0.0]]),
    )
