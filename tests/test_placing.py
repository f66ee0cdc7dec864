"""Scenes of every task: its things at every stage that an episode may show, where the state says they are."""

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from gqn_transfer.envs.kinematics import HOME
from gqn_transfer.envs.placed_things import THINGS
from gqn_transfer.envs.placing import DEEPEST, FLOOR_CLEARANCE, WIDEST_GRIP, Placer
from gqn_transfer.envs.registry import TASKS, find_task
from gqn_transfer.envs.rendering import LABEL_TARGET
from gqn_transfer.envs.scenes import SceneArrays, sample_scenes, scene_columns
from gqn_transfer.envs.state import SCENE_COLUMNS, THING_COLUMNS

COUNT = 150
WITH_OBJECT = ("grasp.xml", "place.xml", "push.xml", "press.xml")


@pytest.fixture(scope="module")
def placed() -> Callable[[str], list[mujoco.MjData]]:
    """Scene file -> configurations."""
    kept: dict[str, list[mujoco.MjData]] = {}

    def of(scene: str) -> list[mujoco.MjData]:
        if scene not in kept:
            placer, rng, found = Placer(scene), np.random.default_rng(0), []
            for _ in range(COUNT):
                placer.place(rng)
                found.append(mujoco.MjData(placer.model))
                mujoco.mj_copyData(found[-1], placer.model, placer.data)
            kept[scene] = found
        return kept[scene]

    return of


def hands(states: list[mujoco.MjData]) -> np.ndarray:
    return np.array([data.site("pinchsite").xpos for data in states])


def objects(states: list[mujoco.MjData]) -> np.ndarray:
    return np.array([data.body("object").xpos for data in states])


def upright(states: list[mujoco.MjData]) -> np.ndarray:
    return np.array([abs(data.body("object").xmat[8]) for data in states])


def test_every_tasks_scene_can_be_placed() -> None:
    assert {find_task(task).scene for task in TASKS} == set(THINGS)


@pytest.mark.parametrize("scene", list(THINGS))
def test_the_arm_touches_at_most_what_it_may_hold(
    scene: str, placed: Callable[[str], list[mujoco.MjData]]
) -> None:
    placer = Placer(scene)
    thing = {"object", "target"} & {placer.model.body(k).name for k in range(placer.model.nbody)}
    for data in placed(scene):
        assert data.contact.dist.min(initial=0.0) > -DEEPEST
        for pair in data.contact.geom:
            bodies = {placer.model.body(placer.model.geom_bodyid[geom]).name for geom in pair}
            assert bodies & thing
    assert hands(placed(scene))[:, 2].min() > FLOOR_CLEARANCE


@pytest.mark.parametrize("scene", WITH_OBJECT)
def test_hands_are_often_just_above_what_they_are_to_touch(
    scene: str, placed: Callable[[str], list[mujoco.MjData]]
) -> None:
    states = placed(scene)
    aside = np.linalg.norm(hands(states)[:, :2] - objects(states)[:, :2], axis=1)
    assert np.mean(aside < 0.06) > 0.25
    assert np.mean(aside > 0.15) > 0.15


def test_cans_stand_lie_fly_and_are_held(placed: Callable[[str], list[mujoco.MjData]]) -> None:
    states = placed("grasp.xml")
    height, away = objects(states)[:, 2], np.linalg.norm(hands(states) - objects(states), axis=1)
    held = (away < 0.03) & (height > 0.04)
    assert np.mean(held) > 0.15
    assert height[held].max() > 0.3, "lifted"
    assert np.mean(np.isclose(height, 0.03) & (upright(states) > 0.999)) > 0.3, "standing"
    assert np.mean(np.isclose(height, 0.03) & (upright(states) < 0.001)) > 0.03, "lying"
    assert np.mean(~held & (height > 0.07)) > 0.03, "in the air"


@pytest.mark.parametrize("scene", ["grasp.xml", "place.xml"])
def test_fingers_are_closed_on_what_they_hold(
    scene: str, placed: Callable[[str], list[mujoco.MjData]]
) -> None:
    """Each at an angle of its own, as a can stops it: in the tasks' episodes at 0.8, 1.2 and 1.0 rad."""
    model = Placer(scene).model
    away = np.linalg.norm(hands(placed(scene)) - objects(placed(scene)), axis=1)
    held = (away < 0.03) & (objects(placed(scene))[:, 2] > 0.045)
    fingers = np.array([data.qpos[6:9] for data in placed(scene)])
    assert fingers[held].mean(1).min() > 0.6
    assert np.mean(np.ptp(fingers[held], axis=1) > 0.2) > 0.5
    assert np.median(fingers[held], axis=0).argmax() == 1
    for data in np.array(placed(scene), object)[held]:
        touching = {model.geom(geom).name for geom in data.contact.geom.ravel()}
        assert sum(any(f"{k}" in name and "finger" in name for name in touching) for k in (1, 2, 3)) >= 2


def test_held_cans_stand_as_labels_say_and_some_are_not_gripped_yet(
    placed: Callable[[str], list[mujoco.MjData]],
) -> None:
    """The axis of a held can points up, where a can looks alike upside down."""
    states = placed("grasp.xml")
    away = np.linalg.norm(hands(states) - objects(states), axis=1)
    up = np.array([data.body("object").xmat[8] for data in states])
    held = (away < 0.03) & (objects(states)[:, 2] > 0.045)
    assert up[held].min() >= 0
    between = (away < 0.03) & np.isclose(objects(states)[:, 2], 0.03)
    fingers = np.array([data.qpos[6:9].min() for data in states])
    assert 0.1 < np.mean(fingers[between] < WIDEST_GRIP) < 0.5


def test_hands_at_work_lean(placed: Callable[[str], list[mujoco.MjData]]) -> None:
    states = placed("grasp.xml")
    down = np.array([-data.site("pinchsite").xmat[8] for data in states])
    between = np.linalg.norm(hands(states) - objects(states), axis=1) < 0.03
    angles = np.degrees(np.arccos(down[between & np.isclose(objects(states)[:, 2], 0.03)]))
    assert 5 < np.median(angles) < 20


def test_fingers_are_alike_apart_and_shut(placed: Callable[[str], list[mujoco.MjData]]) -> None:
    fingers = np.array([data.qpos[6:9] for data in placed("push.xml")])
    assert 0.05 < np.mean(np.ptp(fingers, axis=1) > 0.25) < 0.3
    assert np.mean(fingers.min(1) > 0.95) > 0.35


def test_poses_goals_lie_within_what_its_scenes_show(placed: Callable[[str], list[mujoco.MjData]]) -> None:
    """Joints 4 to 6 of goals are farther than 1.2 rad from home in seven of ten."""
    joints = np.array([data.qpos[:6] for data in placed("pose.xml")])
    far = np.abs(joints[:, 3:] - HOME[3:]) > 1.2
    assert far.any(1).mean() > 0.6
    assert far[:, 2].mean() > 0.25


def test_rings_lie_around_hands_and_elsewhere(placed: Callable[[str], list[mujoco.MjData]]) -> None:
    states = placed("push.xml")
    hand, ring = hands(states), objects(states)
    inside = (np.linalg.norm(hand[:, :2] - ring[:, :2], axis=1) < 0.065) & (hand[:, 2] < 0.06)
    fist = np.array([data.qpos[6:9].min() for data in states]) > 0.9
    assert np.mean(inside & fist) > 0.2
    assert np.mean(inside & ~fist) > 0.03
    assert np.mean(np.isclose(ring[:, 2], 0.02)) > 0.8


@pytest.mark.parametrize("scene", ["push.xml", "place.xml"])
def test_some_things_are_on_their_spot(scene: str, placed: Callable[[str], list[mujoco.MjData]]) -> None:
    states = placed(scene)
    spots = np.array([data.mocap_pos[0, :2] for data in states])
    assert np.mean(np.linalg.norm(spots - objects(states)[:, :2], axis=1) < 0.06) > 0.12
    assert (np.ptp(spots, axis=0) > [0.45, 0.6]).all()


def test_buttons_are_up_on_their_way_and_down(placed: Callable[[str], list[mujoco.MjData]]) -> None:
    travel = np.array([data.joint("button").qpos[0] for data in placed("press.xml")])
    assert np.mean(travel == 0) == pytest.approx(0.6, abs=0.15)
    hand, cap = hands(placed("press.xml")), objects(placed("press.xml"))
    aside, above = np.linalg.norm((hand - cap)[:, :2], axis=1), (hand - cap)[:, 2]
    on_it = (aside < 0.06) & (above < 0.06)
    assert np.mean(on_it & (travel < -0.024)) > 0.1, "pressed down by the hand"
    assert np.mean(on_it & (travel < 0)) > 0.2, "on its way"
    assert 0.03 < np.mean(~on_it & (travel < 0)) < 0.2, "not yet up again"


# Scenes of several tasks.


@pytest.fixture(scope="module")
def mixed() -> SceneArrays:
    return sample_scenes(COUNT, 1, np.random.default_rng(0), tasks=tuple(TASKS))


def column(arrays: SceneArrays, name: str) -> np.ndarray:
    columns = scene_columns(tuple(TASKS))
    return arrays.state[:, [columns.index(f"{name}_{axis}") for axis in "xyz"]]


def test_columns_of_an_object_only_where_there_may_be_one(mixed: SceneArrays) -> None:
    assert scene_columns(("Reach-v0", "Pose-v0")) == SCENE_COLUMNS
    assert scene_columns(tuple(TASKS)) == (*SCENE_COLUMNS, *THING_COLUMNS)
    assert mixed.state.shape == (COUNT, len(SCENE_COLUMNS) + len(THING_COLUMNS))
    assert np.isfinite(mixed.state).all()


def test_all_tasks_take_part(mixed: SceneArrays) -> None:
    target, thing = column(mixed, "target").any(1), column(mixed, "object").any(1)
    shares = [np.mean(kind) for kind in (target & thing, target & ~thing, ~target & thing, ~target & ~thing)]
    np.testing.assert_allclose(shares, [3 / 6, 1 / 6, 1 / 6, 1 / 6], atol=0.12)


def test_what_a_scene_holds_is_seen(mixed: SceneArrays) -> None:
    empty = ~(column(mixed, "target").any(1) | column(mixed, "object").any(1))
    pixels = (mixed.labels == LABEL_TARGET).sum((1, 2, 3))
    assert (pixels[empty] == 0).all()
    assert np.mean(pixels[~empty] >= 4) > 0.9


def test_the_same_generator_state_gives_the_same_mixed_scenes(mixed: SceneArrays) -> None:
    again = sample_scenes(COUNT, 1, np.random.default_rng(0), tasks=tuple(TASKS))
    for ours, theirs in zip(mixed, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_scene_does_not_depend_on_the_one_before() -> None:
    tasks = ("Push-v0", "Press-v0", "Pose-v0")
    at_once = sample_scenes(20, 1, np.random.default_rng(3), tasks=tasks, randomize="full")
    rng = np.random.default_rng(3)
    for k in range(20):
        one = sample_scenes(1, 1, rng, tasks=tasks, randomize="full")
        for ours, theirs in zip(one, at_once, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[k])


def test_some_random_looks_are_the_plain_one() -> None:
    columns = [SCENE_COLUMNS.index(f"target_{colour}") for colour in ("red", "green", "blue")]
    looks = ("none", "full")
    plain, drawn = (sample_scenes(80, 1, np.random.default_rng(0), randomize=look).state for look in looks)
    alike = (drawn[:, columns] == plain[0, columns]).all(1)
    assert 0.05 < alike.mean() < 0.3


@pytest.mark.parametrize(("tasks", "message"), [(("Reach-v1",), "Reach-v0"), ((), "at least one")])
def test_wrong_tasks_are_named(tasks: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_scenes(1, 1, np.random.default_rng(0), tasks=tasks)
