"""View invariance of codes that are made to have it, to lack it, and to have collapsed."""

import pytest
import torch
from torch import Tensor

from gqn_transfer.invariance import nearest_is_own, view_invariance

SCENES = 60


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_code_of_the_scene_alone_is_invariant() -> None:
    scene = noise(0, SCENES, 8)
    assert view_invariance(scene, scene.clone()) == (0, 1, SCENES)


def test_a_code_of_the_camera_alone_is_at_chance() -> None:
    found = [view_invariance(noise(2 * k, SCENES, 8), noise(2 * k + 1, SCENES, 8)) for k in range(10)]
    ratios, retrieved, _ = zip(*found, strict=True)
    assert sum(ratios) / 10 == pytest.approx(1, abs=0.03)
    assert sum(retrieved) / 10 == pytest.approx(1 / SCENES, abs=0.02)


def test_in_between_the_ratio_is_that_of_the_variances() -> None:
    scene = noise(0, 400, 64)
    one, other = scene + noise(1, 400, 64), scene + noise(2, 400, 64)
    found = view_invariance(one, other)
    assert found is not None
    assert found.ratio == pytest.approx(2**-0.5, abs=0.02)  # variances 2 (cameras) and 4 (cameras and scenes)
    assert found.retrieval > 0.8


def test_an_entry_of_large_scale_does_not_outweigh_the_rest() -> None:
    scene = noise(0, SCENES, 8)
    loud, other_loud = 1e4 * noise(1, SCENES, 1), 1e4 * noise(2, SCENES, 1)
    found = view_invariance(torch.cat([scene, loud], 1), torch.cat([scene, other_loud], 1))
    assert found is not None
    assert found.retrieval > 0.8


def test_an_offset_of_one_camera_counts() -> None:
    """Standardisation is over both cameras together: it must not remove what sets them apart."""
    scene = noise(0, SCENES, 8)
    found = view_invariance(scene, scene + 10)
    assert found is not None
    assert found.ratio > 0.9


def test_dead_entries_are_left_out_and_a_dead_code_has_no_figure() -> None:
    scene, dead = noise(0, SCENES, 4), torch.full((SCENES, 3), 0.7)
    assert view_invariance(torch.cat([scene, dead], 1), torch.cat([scene, dead], 1)) == (0, 1, SCENES)
    assert view_invariance(dead, dead) is None


def test_ties_share_the_hit() -> None:
    distances = torch.tensor([[1.0, 1.0, 2.0], [0.5, 0.1, 3.0], [0.0, 0.0, 4.0]])
    assert nearest_is_own(distances).tolist() == [0.5, 1, 0]


def test_ratio_and_retrieval_by_hand() -> None:
    one, other = torch.tensor([[0.0], [10.0]]), torch.tensor([[9.0], [10.0]])
    found = view_invariance(one, other)
    assert found is not None
    assert found.ratio == pytest.approx((9 + 0) / (10 + 1))
    assert found.retrieval == 0.75  # 0 to 9, 10 to 10 and 10 to 10 are right; 9 is nearest to 10, not 0


@pytest.mark.parametrize("shapes", [((3, 2), (4, 2)), ((1, 2), (1, 2)), ((3, 2, 2), (3, 2, 2))])
def test_wrong_shapes_are_refused(shapes: tuple) -> None:
    with pytest.raises(ValueError, match=r"expected twice \(N, C\)"):
        view_invariance(*(torch.zeros(shape) for shape in shapes))
