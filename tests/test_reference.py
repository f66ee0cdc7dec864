"""Reference renders: kept with scenes, carried to checkpoints, and a changed look is noticed."""

import numpy as np
import pytest

from gqn_transfer import reference
from gqn_transfer.envs import TASKS
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.reference import reference_render, reference_renders


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (16, 16, 3), np.uint8)


def test_every_task_has_one_and_it_does_not_change():
    renders = reference_renders(32)
    assert renders.keys() == TASKS.keys()
    for task, image in renders.items():
        assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
        assert reference.differing_share(image, reference_render(task, 32)) <= reference.TOLERATED_SHARE


def test_it_is_the_plain_look_from_the_fixed_camera():
    observation, _ = ArmEnv("Grasp-v0", camera="fixed").reset(seed=0)
    np.testing.assert_array_equal(reference_render("Grasp-v0"), observation["image"])


def test_tasks_that_show_other_things_look_different():
    renders = reference_renders(64, ["Reach-v0", "Pose-v0", "Press-v0", "Place-v0"])
    images = list(renders.values())
    assert all(reference.differing_share(images[0], other) > 0.01 for other in images[1:])


def test_written_renders_are_read_back(tmp_path):
    reference.write_reference(tmp_path, {"A": picture(0), "B": picture(1)})
    kept = reference.read_reference(tmp_path)
    assert kept.keys() == {"A", "B"}
    np.testing.assert_array_equal(kept["B"], picture(1))


def test_copying_takes_them_along_if_there_are_any(tmp_path):
    source, target = tmp_path / "scenes", tmp_path / "encoder"
    source.mkdir()
    target.mkdir()
    reference.copy_reference(source, target)
    assert reference.read_reference(target) == {}
    reference.write_reference(source, {"A": picture()})
    reference.copy_reference(source, target)
    np.testing.assert_array_equal(reference.read_reference(target)["A"], picture())


@pytest.mark.parametrize(
    ("levels", "pixels", "share"), [(2, 256, 0.0), (3, 1, 1 / 256), (3, 64, 0.25), (200, 256, 1.0)]
)
def test_the_share_counts_pixels_beyond_two_levels(levels, pixels, share):
    before = np.zeros((16, 16, 3), np.uint8)
    after = before.copy()
    after.reshape(-1, 3)[:pixels, 1] = levels
    assert reference.differing_share(before, after) == share
    assert reference.differing_share(after, before) == share


def test_another_size_is_all_different():
    assert reference.differing_share(picture(), picture()[:8]) == 1.0


def test_the_same_look_needs_no_words(tmp_path):
    reference.write_reference(tmp_path, {"A": picture()})
    assert reference.difference_warning(tmp_path, "A", picture()) is None


def test_another_look_is_named_with_task_share_and_cure(tmp_path):
    reference.write_reference(tmp_path, {"A": picture()})
    changed = picture()
    changed[:4] += 5
    words = reference.difference_warning(tmp_path, "A", changed)
    assert "looks different from what this encoder was trained on: 25% of the pixels of A" in words
    assert "train an encoder on scenes of today" in words


def test_a_task_without_a_render_is_said_to_be_unknown(tmp_path):
    assert "no reference render of A" in reference.difference_warning(tmp_path, "A", picture())


def test_a_truncated_file_is_named(tmp_path):
    reference.write_reference(tmp_path, {"A": picture()})
    path = tmp_path / reference.FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(reference.ReferenceRenderError, match=f"{reference.FILE} is truncated"):
        reference.read_reference(tmp_path)
