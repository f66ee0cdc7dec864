"""Other views of the states that an agent meets, kept for its auxiliary loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_wrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from gqn_transfer.scenes import Batch, Scenes

from .mixed_vec_env import parts_of

EVERY, VIEWS = 8, 3
"""At one environment step in `EVERY`, `VIEWS` more views of the state are rendered."""
CAPACITY = 8_192
"""States kept, the latest."""


class SceneSource(Protocol):
    """Anything that gives scenes of `VIEWS` views."""

    def __len__(self) -> int:
        """How many scenes there are."""
        ...

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` of them drawn with replacement, without the simulator's state."""
        ...


class SceneCollector(VecEnvWrapper):
    """Keeps other views of the states that its environments are in.

    The environment below must have `moment()` and `scene_views(count, rng, moment)`, as `ArmVectorEnv` has.
    Moments are kept too, which are much smaller: from them the views can be drawn again.
    """

    def __init__(self, venv: VecEnv, rng: np.random.Generator, capacity: int = CAPACITY) -> None:
        super().__init__(venv)
        self.rng, self.capacity = rng, capacity
        self.frames = 0
        self._steps, self._count = 0, 0
        self._kept: tuple[np.ndarray, ...] = ()
        self._moments: deque[tuple[Mapping[str, Any], dict[str, np.ndarray]]] = deque(
            maxlen=-(-capacity // venv.num_envs)
        )  # each with the generator's state before it was looked at

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        result = self.venv.step_wait()
        self._steps += 1
        if self._steps % EVERY == 0:
            self._look(self._ask("moment"))
        return result

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` states drawn with replacement, without the simulator's state."""
        rows = rng.integers(len(self), size=count)
        images, viewpoints, labels = (values[rows] for values in self._kept)
        return Batch(images, viewpoints, labels, nothing(count))

    def bookmark(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays from which `go_back` makes all this again."""
        rng = self._moments[0][0] if self._moments else self.rng.bit_generator.state
        facts = {"rng": rng, "steps": self._steps, "count": self._count, "frames": self.frames}
        moments = [moment for _, moment in self._moments]
        return facts, {key: np.stack([each[key] for each in moments]) for key in (moments or [{}])[0]}

    def go_back(self, facts: dict[str, Any], moments: Mapping[str, np.ndarray]) -> None:
        """To where a bookmark was made: its views are drawn again."""
        self._moments.clear()
        self.rng.bit_generator.state = facts["rng"]
        looks = len(next(iter(moments.values()), ()))
        self._count = facts["count"] - looks * self.num_envs
        for index in range(looks):
            self._look({key: values[index] for key, values in moments.items()})
        self._steps, self.frames = facts["steps"], facts["frames"]

    def _look(self, moment: dict[str, np.ndarray]) -> None:
        self._moments.append((self.rng.bit_generator.state, moment))
        self._keep(tuple(self._ask("scene_views", VIEWS, self.rng, moment)))

    def _ask(self, what: str, *arguments: Any) -> Any:
        try:
            return self.venv.env_method(what, *arguments, indices=[0])[0]
        except AttributeError as error:
            raise ValueError(
                "rendering as a loss needs other views of the agent's states, which this environment cannot "
                "give: it has no moment() and scene_views(count, rng, moment); use ArmVectorEnv"
            ) from error

    def _keep(self, views: tuple[np.ndarray, ...]) -> None:
        if not self._kept:
            self._kept = tuple(np.empty((self.capacity, *part.shape[1:]), part.dtype) for part in views)
        states = len(views[0])
        places = (self._count + np.arange(states)) % self.capacity
        for kept, part in zip(self._kept, views, strict=True):
            kept[places] = part
        self._count += states
        self.frames += states * VIEWS


def collectors_in(venv: VecEnv | None) -> list[SceneCollector]:
    """Those among the wrappers of `venv`, one a task where there are several."""
    found = [unwrap_vec_wrapper(part, SceneCollector) for part in parts_of(venv)] if venv is not None else []
    return [collector for collector in found if collector is not None]


class PretrainingScenes:
    """Scenes of a folder, of each as many views as a collector keeps, drawn anew."""

    def __init__(self, scenes: Scenes) -> None:
        if scenes.meta["views"] < VIEWS:
            raise ValueError(f"{scenes.folder} has {scenes.meta['views']} views a scene: expected {VIEWS}")
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        found = self.scenes.gather(rng.integers(len(self), size=count))
        views = rng.permutation(self.scenes.meta["views"])[:VIEWS]
        return Batch(
            found.images[:, views], found.viewpoints[:, views], found.labels[:, views], nothing(count)
        )


class Together:
    """Several sources as one: every scene is drawn from one of them at random."""

    def __init__(self, sources: Sequence[SceneSource]) -> None:
        self.sources = tuple(sources)

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        filled = [source for source in self.sources if len(source)]
        counts = rng.multinomial(count, [1 / len(filled)] * len(filled))
        parts = [source.sample(int(n), rng) for source, n in zip(filled, counts, strict=True)]
        return joined(parts)


def joined(parts: Sequence[Batch]) -> Batch:
    """Their scenes, one part after the other."""
    return Batch(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def nothing(count: int) -> np.ndarray:
    """float32 (count, 0): the state of scenes that come without one."""
    return np.zeros((count, 0), np.float32)
