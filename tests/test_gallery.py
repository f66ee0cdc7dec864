"""The gallery: what is in its pictures, that they end in success, and that no half file stays."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gqn_transfer import files
from gqn_transfer.benchmarks import gallery
from gqn_transfer.benchmarks.animation import TILE, save_animation
from gqn_transfer.benchmarks.gallery import Clip, Moment, successful_clip, write_gallery
from gqn_transfer.benchmarks.sheets import GAP
from gqn_transfer.envs.arm import ArmEnv
from gqn_transfer.envs.experts import EXPERTS

TASKS = ("Reach-v0", "Press-v0")
SEED = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `write_gallery` wrote; leave it as it is."""
    folder = tmp_path_factory.mktemp("gallery")
    write_gallery(folder, TASKS, SEED)
    return folder


@pytest.fixture(scope="module")
def clip() -> Clip:
    return successful_clip("Reach-v0", SEED)


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as animation:
        return [np.asarray(_at(animation, frame).convert("RGB")) for frame in range(animation.n_frames)]


def durations_of(path: Path) -> list[int]:
    with Image.open(path) as animation:
        return [_at(animation, frame).info["duration"] for frame in range(animation.n_frames)]


def _at(animation: Any, frame: int) -> Any:
    animation.seek(frame)
    return animation


def test_a_picture_and_an_animation_of_each_task_and_one_of_all(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {"gallery.png"} | {f"{task}{ending}" for task in TASKS for ending in (".png", ".gif")}
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) >= 600


@pytest.mark.parametrize("task", TASKS)
def test_animations_run_in_real_time_and_are_small(folder: Path, task: str) -> None:
    path = folder / f"{task}.gif"
    durations = durations_of(path)
    assert all(duration % 100 == 0 for duration in durations)  # a still picture is stored once, for longer
    assert sum(durations) == 100 * len(successful_clip(task, SEED).moments)
    assert frames_of(path)[0].shape == (TILE, 2 * TILE + TILE // 32, 3)
    assert path.stat().st_size < 700_000


def test_a_clip_ends_a_little_after_success(clip: Clip) -> None:
    successes = [moment.success for moment in clip.moments]
    assert successes == [False] * clip.success_at + [True] * (gallery.STEPS_AFTER + 1)
    assert clip.what_for == "Bring the hand to a coloured sphere of radius 5 cm."


def test_moments_are_what_an_agent_sees(clip: Clip) -> None:
    for camera in ("fixed", "moving"):
        seen, _ = ArmEnv("Reach-v0", camera=camera).reset(seed=SEED)
        np.testing.assert_array_equal(getattr(clip.moments[0], camera), seen["image"])
    assert clip.moments[0].picture.shape == (480, 480, 3)


def test_the_last_pictures_are_of_success(folder: Path, clip: Clip) -> None:
    seen = clip.moments[-1].fixed
    with Image.open(folder / "Reach-v0.png") as opened:
        sheet = np.asarray(opened.convert("RGB"))
    left, top = 2 * (52 + 2 * (TILE + GAP)), 2 * (84 + TILE + GAP)  # third column, second row; 200 dpi
    np.testing.assert_array_equal(sheet[top + 4 : top + 2 * TILE : 8, left + 4 : left + 2 * TILE : 8], seen)
    last = frames_of(folder / "Reach-v0.gif")[-1]
    assert np.abs(last[2::4, -TILE + 2 :: 4].astype(int) - seen).max() < 12  # 256 colours


def fake_play(succeeds: Callable[[int], bool], tried: list[int]) -> Callable[[str, int], list[Moment]]:
    blank = np.zeros((64, 64, 3), np.uint8)

    def fake(task: str, seed: int) -> list[Moment]:
        tried.append(seed)
        return [Moment(blank, blank, blank, success) for success in (False, True, False, succeeds(seed))]

    return fake


def test_seeds_are_tried_until_an_episode_ends_in_success(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(gallery, "play", fake_play(lambda seed: seed == 7, tried))
    assert successful_clip("Reach-v0", 5).success_at == 3
    assert tried == [5, 6, 7]


def test_an_expert_that_never_succeeds_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(gallery, "play", fake_play(lambda seed: False, tried))
    with pytest.raises(RuntimeError, match="expert of Reach-v0 fails with every seed from 0 to 19"):
        successful_clip("Reach-v0")
    assert len(tried) == gallery.MOST_SEEDS


def test_the_camera_changes_nothing_of_an_episode() -> None:
    """`play` shows one episode from two environments."""
    envs = [ArmEnv("Press-v0", obs="state", camera=camera) for camera in ("fixed", "moving")]
    for env in envs:
        env.reset(seed=SEED)
    for _ in range(envs[0].task.horizon):
        action = EXPERTS["Press-v0"](envs[0])
        for env in envs:
            env.step(action)
    np.testing.assert_array_equal(envs[0].data.qpos, envs[1].data.qpos)


def test_an_unknown_task_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from gqn_transfer.benchmarks.cli import main; main()"]
    arguments = ["gallery", "--out", str(tmp_path / "new"), "--tasks", "Reach-v0", "Reech-v0"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "task='Reech-v0': expected one of 'Reach-v0', 'Pose-v0'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_an_interrupted_write_keeps_the_old_file(
    ending: str, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(first: Any, second: Any, **how: Any) -> None:
        next(each for each in (first, second) if isinstance(each, Path)).write_bytes(b"ne")
        raise KeyboardInterrupt

    path = tmp_path / f"Reach-v0.{ending}"
    path.write_bytes(b"old")
    monkeypatch.setattr(gallery, "successful_clip", lambda task, seed: clip)
    monkeypatch.setattr(*((Image.Image, "save") if ending == "gif" else (files, "_fill_bytes")), half)
    with pytest.raises(KeyboardInterrupt):
        write_gallery(tmp_path, ["Reach-v0"])
    assert path.read_bytes() == b"old"
    assert not [leftover for leftover in tmp_path.iterdir() if leftover.name.startswith(".")]


def test_colours_survive_the_palette(clip: Clip, tmp_path: Path) -> None:
    """Fingers are a few pixels of a frame: a palette by area would lose them."""
    frames = [(moment.picture, moment.fixed) for moment in clip.moments]
    save_animation(frames, tmp_path / "clip.gif")
    first = frames_of(tmp_path / "clip.gif")[0][2::4, -TILE + 2 :: 4]
    assert np.abs(first.astype(int) - clip.moments[0].fixed).max() < 12
