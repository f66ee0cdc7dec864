"""`gqn-bench tune`: the same search, with the same budget, for every method whose settings others inherit.

Trials are cells like any other, on seeds that no result uses; a finished one is never run again. The sampler
is asked in the same order with the same seed: an interrupted search goes on as if nothing had happened, from
the cells or from the table alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gqn_transfer.encoder import load_encoder
from gqn_transfer.files import read_json, write_json, write_text

from .artefacts import pretraining_frames, ready
from .cell_files import CURVE, cell_folder, failed, finished
from .cells import Cell
from .claims import claimed
from .curves import read_curve
from .grids import encoder_for
from .processes import worker_pool
from .provenance import provenance
from .run_cell import How, run_cell
from .search_space import DEFAULTS, TUNED, Choice, space_of
from .statistics import area_under_curve
from .trials import Trial, as_csv, ranked, read_trials
from .work import TICK, render_scenes

if TYPE_CHECKING:
    import optuna

RETURN_WEIGHT = 0.01
"""Of a return, which is 45 for an oracle, beside a success rate: about a half."""
SEED = 1000
"""Of the first trial's agent; trial k has SEED + k."""


@dataclass(frozen=True)
class TuneConfig:
    """How much is tried."""

    trials: int = 12
    """Of each method."""
    steps: int = 100_000
    """Environment steps of a trial."""
    evaluations: int = 5
    """Of a trial, beside the one of its untrained agent."""
    task: str = "Reach-v0"
    """On which all trials run."""
    camera: str = "fixed"
    """Of the task."""
    family: str = "small"
    """Of the encoders: a key of `grids.FAMILIES`."""

    @property
    def confirmations(self) -> int:
        """How many of the trials, the last ones, run the best settings again with another seed: one run of
        the same settings and another are as far apart as the best settings."""
        return self.trials // 4

    def __post_init__(self) -> None:
        if min(self.trials, self.evaluations) < 1 or self.steps < self.evaluations:
            raise ValueError(
                f"trials={self.trials}, steps={self.steps}, evaluations={self.evaluations}: "
                "expected at least one trial, and as many steps as evaluations"
            )


def tune(methods: Sequence[str], folder: Path, config: TuneConfig, workers: int | None = None) -> None:
    """Search for each of `methods`, side by side; write `folder`/METHOD.csv after every trial. ValueError for
    those whose search ended early, when the others are through."""
    _check(methods, config.family)
    facts = provenance()
    for method in methods:  # once for all that share them
        while (name := encoder_for(method, config.family)) and not render_scenes(name, folder):
            time.sleep(TICK)
    with worker_pool(workers, len(methods), fresh=True) as pool:
        jobs = {method: pool.submit(search, method, folder, config, facts) for method in methods}
        errors = {method: job.exception() for method, job in jobs.items()}
    if ended := [f"{method}: {error}" for method, error in errors.items() if error is not None]:
        raise ValueError("\n".join(ended))


def search(method: str, folder: Path, config: TuneConfig, facts: dict[str, Any]) -> list[Trial]:
    """All trials of one method, in order: settings that the sampler asks for, then the best ones again."""
    study, space, trials = _study(), space_of(method), []
    name = encoder_for(method, config.family)
    encoder = ready(name, folder, 1) if name else None
    how = How(pretraining_frames(encoder) if encoder else 0, facts)
    table = folder / f"{method}.csv"
    known = read_trials(table)
    _same_search(table, method, config, load_encoder(encoder).fingerprint if encoder else "", facts)

    def run(cell: Cell, settings: Mapping[str, Any]) -> tuple[float, float]:
        place, written = cell_folder(folder, cell), known.get(cell.seed - SEED)
        if finished(place):
            return worth(place)
        if written is not None and written.settings == settings:
            return written.value, written.success
        with claimed(place) as ours:
            if not ours:
                raise ValueError(f"another command runs the trial in {place}: let one of them search")
            run_cell(cell, place, encoder, how)
        return worth(place)

    searched = config.trials - config.confirmations
    for number in range(config.trials):
        if number < searched:
            trials.append(one_trial(study, method, number, space, config, run))
        else:
            again = ranked(trials[:searched])[number - searched]
            trials.append(Trial(number, again, *run(cell_of(method, number, again, config), again)))
        if len(trials) >= len(known):  # what is known of later ones stays until they are asked for
            write_text(table, as_csv(trials, list(space)))
        Console().print(f"{method} trial {number}: {trials[-1].value:.3f}, success {trials[-1].success:.0%}")
    return trials


def _same_search(
    table: Path, method: str, config: TuneConfig, encoder: str, facts: Mapping[str, Any]
) -> None:
    """Note beside `table` what it was made with; ValueError if it stems from another search."""
    path = table.with_suffix(".json")
    mine = {"method": method, "encoder_fingerprint": encoder, "first_seed": SEED, **asdict(config)}
    del mine["trials"]  # more of them go on from the same ones
    if not path.exists():
        if table.exists():
            raise ValueError(f"{table} does not say how it was made: name another folder, or delete it")
        write_json(path, {"search": mine, **facts})
        return
    if (theirs := read_json(path)["search"]) != mine:
        other = [
            f"{key} {theirs.get(key)!r}, now {mine[key]!r}" for key in mine if theirs.get(key) != mine[key]
        ]
        raise ValueError(
            f"{table} is of another search: {'; '.join(other)}. Name another folder, or delete it"
        )


def one_trial(
    study: optuna.Study,
    method: str,
    number: int,
    space: Mapping[str, Choice],
    config: TuneConfig,
    run: Callable[[Cell, Mapping[str, Any]], tuple[float, float]],
) -> Trial:
    """Ask for settings, run them, tell what they were worth."""
    if number == 0:
        study.enqueue_trial({name: DEFAULTS[name] for name in space})
    asked = study.ask()
    settings = {name: asked.suggest_categorical(name, choices) for name, choices in space.items()}
    value, success = run(cell_of(method, number, settings, config), settings)
    study.tell(asked, value)
    return Trial(number, settings, value, success)


def cell_of(method: str, number: int, settings: Mapping[str, Any], config: TuneConfig) -> Cell:
    """The cell that runs a trial."""
    changed: dict[str, Any] = {name: value for name, value in settings.items() if value != DEFAULTS[name]}
    changed["evaluate_every"] = config.steps // config.evaluations
    return Cell(
        "tune", config.task, method, "ppo", config.camera, encoder_for(method, config.family), SEED + number,
        config.steps, tuple(sorted(changed.items())),
    )  # fmt: skip


def worth(place: Path) -> tuple[float, float]:
    """The value of a trial, and its last success rate; ValueError for a failed cell.

    The value is the area under the success curve, plus `RETURN_WEIGHT` times that under the mean return's:
    success is what results are judged by, the return tells settings apart where no episode succeeds yet.
    """
    if failed(place):
        raise ValueError(f"{place} failed, see its done.json: mend it and run the same command again")
    curve = read_curve(place / CURVE)
    success, returned = (area_under_curve(curve.steps, each) for each in (curve.score, curve.return_mean))
    return success + RETURN_WEIGHT * returned, float(curve.score[-1])


def _study() -> optuna.Study:
    try:
        import optuna
    except ImportError as error:
        raise ValueError("`gqn-bench tune` needs Optuna: pip install 'gqn-transfer[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=6)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _check(methods: Sequence[str], family: str) -> None:
    """Before anything runs."""
    if unknown := sorted(set(methods) - set(TUNED)):
        raise ValueError(
            f"{', '.join(unknown)}: not tuned; {', '.join(TUNED)} are, and the others take their settings "
            "from the nearest"
        )
    for method in methods:
        encoder_for(method, family)
