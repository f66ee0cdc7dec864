"""`gqn-bench evaluate`: checkpoints side by side on the same held-out scenes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from gqn_transfer.compact import Compact
from gqn_transfer.encoder import encode_scenes, find_checkpoint, load_encoder, load_gqn
from gqn_transfer.envs.cameras import CAMERA_PATHS
from gqn_transfer.envs.errors import check_choice
from gqn_transfer.envs.registry import find_task
from gqn_transfer.evaluation import (
    BATCH,
    CONTEXTS,
    PAPER_SIGMA,
    Figure,
    Protocol,
    in_batches,
    mean_image,
    mean_image_figures,
    possible_contexts,
    rendering_figures,
)
from gqn_transfer.invariance import view_invariance
from gqn_transfer.precision import choose_device
from gqn_transfer.probes import ProbeRow, constants, guess
from gqn_transfer.scenes import Scenes, ScenesError
from gqn_transfer.subject import Subject, check_scenes, read_subject

from .encoder_probes import CAMERA, Probed, probed
from .task_frames import TaskFrames, task_frames

CHANCE = "chance"
"""Name in the files of what one gets without looking."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How much is evaluated, and with which random numbers."""

    count: int = 1000
    """Held-out scenes, at most."""
    samples: int = 4
    """Samples of prior and posterior for each query."""
    seed: int = 0
    """Of all samples and of the MLP probe's start."""
    device: str = "auto"
    """auto, cpu or cuda."""
    tasks: tuple[str, ...] = ()
    """Whose frames, as agents meet them, codes are probed on too."""
    camera: str = "fixed"
    """Of these frames."""

    def __post_init__(self) -> None:
        for task in self.tasks:
            find_task(task)  # refuses unknown ones
        check_choice("camera", self.camera, tuple(CAMERA_PATHS))
        for name, least in (("count", 2), ("samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least {least}")


@dataclass(frozen=True)
class Evaluated:
    """The figures of one checkpoint."""

    subject: Subject
    figures: tuple[Figure, ...]
    probes: tuple[ProbeRow, ...]
    constants: tuple[str, ...]
    """Quantities that are the same in all scenes, so that no probe can be judged by them."""
    not_computed: Mapping[str, str]
    """What there is no figure of -> why."""


@dataclass(frozen=True)
class Ground:
    """What all checkpoints are judged on."""

    train: Scenes
    """Probes are fitted on these."""
    test: Scenes
    """Everything is measured on the first `count` of these."""
    count: int
    contexts: tuple[int, ...]
    """Numbers of context views that these scenes allow."""
    config: EvaluationConfig
    device: torch.device
    rollouts: Mapping[str, TaskFrames]
    """By task."""


@dataclass(frozen=True)
class Evaluation:
    """Several checkpoints on the same scenes."""

    ground: Ground
    checkpoints: Mapping[str, Evaluated]
    """By label, in the order given."""
    chance: tuple[Figure, ...]


def evaluate_checkpoints(names: Sequence[str], folder: Path, config: EvaluationConfig) -> Evaluation:
    """Evaluate checkpoints, given by name or path, on the scenes in `folder`/train and /test."""
    labels = labels_of(names)
    train, test = Scenes.open(folder / "train"), Scenes.open(folder / "test")
    subjects = dict(zip(labels, [read_subject(find_checkpoint(name)) for name in names], strict=True))
    check_all(subjects.values(), train, test)
    contexts, _ = possible_contexts(CONTEXTS, test.meta["views"])
    count, device = min(config.count, len(test)), choose_device(config.device)
    rollouts = task_frames(config.tasks, config.camera, test, config.seed)
    ground = Ground(train, test, count, contexts, config, device, rollouts)
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        found = {label: evaluate_one(label, subject, ground) for label, subject in subjects.items()}
    return Evaluation(ground, found, tuple(chance_figures(ground)))


def labels_of(names: Sequence[str]) -> list[str]:
    """A short label for each name or path: its folder's name, the whole where two would share one."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)}: given twice; name each checkpoint once")
    paths = [Path(name) for name in names]
    short = [path.parent.name if path.name == "encoder" and path.parent.name else path.name for path in paths]
    labels = [
        label if label and short.count(label) == 1 else name for label, name in zip(short, names, strict=True)
    ]
    if CHANCE in labels:
        raise ValueError(f"the name {CHANCE!r} is taken by what one gets without looking: rename the folder")
    return labels


def check_all(subjects: Iterable[Subject], train: Scenes, test: Scenes) -> None:
    """Refuse what cannot be evaluated, before any of it is."""
    if test.meta["views"] < 2 or len(test) < 2:
        raise ScenesError(
            f"{test.folder} has {len(test)} scenes of {test.meta['views']} views: a query and another view "
            "as its context need 2, and view invariance 2 scenes; render with `gqn-bench scenes --views 8`"
        )
    if train.meta["state_columns"] != test.meta["state_columns"]:
        raise ScenesError(f"{train.folder} and {test.folder} hold other columns of state: render both anew")
    for subject in subjects:
        for scenes in (train, test):
            check_scenes(subject, scenes)


def evaluate_one(label: str, subject: Subject, ground: Ground) -> Evaluated:
    """All figures of one checkpoint."""
    test, count, seed = ground.test, ground.count, ground.config.seed
    rendering, missing = rendering_of(label, subject, ground)
    found = probed(subject, ground.train, test, count, ground.device, seed, ground.rollouts)
    probes = found.rows
    invariance = list(invariance_of(subject, ground))
    constant = tuple(constants(test.all_state()[:count], test.meta["state_columns"]))
    missing |= {f"probe of {name}": "constant in these scenes" for name in constant}
    if not (probes or constant):
        missing["probes"] = "these scenes come without a state that probes know"
    if not invariance:
        missing["view invariance"] = "all codes are equal: the encoder has collapsed"
    figures = (*rendering, *probe_figures(probes), *task_figures(found), *invariance)
    return Evaluated(subject, figures, tuple(probes), constant, missing)


def rendering_of(label: str, subject: Subject, ground: Ground) -> tuple[list[Figure], dict[str, str]]:
    """Figures of the predictions, and what there are none of."""
    if subject.why_no_pictures:
        return [], {"predictions and bound": subject.why_no_pictures}
    views = ground.test.meta["views"]
    _, too_many = possible_contexts(CONTEXTS, views)
    missing = {}
    if too_many:
        reason = f"these scenes have {views} views, and the query is no context"
        missing[f"predictions from {', '.join(map(str, too_many))} contexts"] = reason
    if subject.why_no_bound:
        missing["bound"] = subject.why_no_bound
    sigmas = tuple(dict.fromkeys((PAPER_SIGMA, subject.final_sigma)))
    protocol = Protocol(ground.contexts, ground.config.samples, sigmas, subject.why_no_bound is None)
    steps = -(-ground.count // BATCH)
    scenes = tqdm(in_batches(ground.test, ground.count), label, steps, unit="batch", mininterval=1)
    generator = torch.Generator().manual_seed(ground.config.seed)
    model = load_gqn(subject.folder).to(ground.device)
    return rendering_figures(model, scenes, protocol, generator), missing


def invariance_of(subject: Subject, ground: Ground) -> Iterator[Figure]:
    """Both figures of view invariance, between the first two views."""
    encoder = Compact(load_encoder(subject.folder)).to(ground.device)
    one, other = (
        encode_scenes(encoder, ground.test, ground.count, view, precision="fp32").cpu() for view in (0, 1)
    )
    if found := view_invariance(one, other):
        yield Figure("view_distance_ratio", "code", 1, found.ratio, "1")
        yield Figure("view_retrieval", "code", 1, found.retrieval, "1")


def probe_figures(rows: Iterable[ProbeRow]) -> Iterator[Figure]:
    """Probes as figures."""
    for row in rows:
        yield Figure(f"probe_{row.probe}_median_error", row.quantity, 1, row.median_error, row.unit)
        yield Figure(f"probe_{row.probe}_r2", row.quantity, 1, row.r2, "1")


def task_figures(found: Probed) -> Iterator[Figure]:
    """Of the tasks' frames: the MLP probe, their own probes, and how far codes lie from training's."""
    for task, rows in found.in_tasks.items():
        for row in rows:
            if row.probe == "mlp":
                part = f"{row.quantity} in {task}"
                yield Figure("task_mlp_median_error", part, 1, row.median_error, row.unit)
        for row in found.own_in_tasks[task]:
            part = f"{row.quantity} in {task}"
            yield Figure(f"task_own_{row.probe}_median_error", part, 1, row.median_error, row.unit)
        if task in found.strangeness:
            yield Figure("task_strangeness", task, 1, found.strangeness[task], "1")


def chance_figures(ground: Ground) -> Iterator[Figure]:
    """What one gets without an encoder: the mean image, the mean state, and any scene for any other."""
    test, count = ground.test, ground.count
    yield from mean_image_figures(mean_image(ground.train), in_batches(test, count))
    state = test.all_state()[:count]
    yield from probe_figures(guess(ground.train.all_state(), state, test.meta["state_columns"]))
    cameras = ground.train.all_viewpoints(0)[:, :3], test.all_viewpoints(0)[:count, :3]
    yield from probe_figures(guess(*cameras, CAMERA))
    yield Figure("view_distance_ratio", "code", 1, 1.0, "1")
    yield Figure("view_retrieval", "code", 1, 1 / count, "1")
