"""What `gqn-bench` does with agents: pictures of their tasks, suites, tuning, reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from .commands import app
from .ray_options import RayOptions


@app.command(name="gallery")
def gallery(out: Path = Path("gallery"), tasks: tuple[str, ...] = (), seed: int = 0) -> None:
    """Draw the tasks: a scripted expert at work, as people see it and as an agent does.

    Args:
        out: Folder for TASK.png and TASK.gif of each task, and gallery.png of them all.
        tasks: Names from gqn_transfer.envs.TASKS; all by default.
        seed: Of the first episode that is tried: the one that is drawn ends in success.
    """
    from .gallery import write_gallery

    write_gallery(out, tasks, seed)
    print(f"gallery: {out / 'gallery.png'}")


@app.command(name="list")
def list_suites() -> None:
    """List the suites, with their cells and steps, and about how long this machine takes."""
    from gqn_transfer.envs.rendering import NoOpenGLError

    from .hours import seconds_of
    from .shown import duration
    from .suites import SUITES

    table = Table("suite", "cells", "steps", "here, about", "what for")
    for name, suite in SUITES.items():
        steps = sum(cell.steps for cell in suite.cells)
        try:
            seconds = duration(seconds_of(suite.cells))
        except NoOpenGLError:
            seconds = "–"
        table.add_row(name, str(len(suite.cells)), f"{steps:,}", seconds, suite.description)
    Console().print(table)


@app.command(name="run")
def run(
    suite: Positional[str],
    out: Path | None = None,
    workers: int | None = None,
    encoder: str | None = None,
    steps: int | None = None,
    seeds: tuple[int, ...] = (),
    tasks: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    cameras: tuple[str, ...] = (),
    time_limit: float | None = None,
    retry_failed: bool = False,
    tensorboard: bool = False,
    engine: Literal["local", "ray"] = "local",
    ray: RayOptions = RayOptions(),  # noqa: B008  it is frozen
) -> None:
    """Run a suite: scenes, encoders, cells. What has ended is skipped, what was interrupted goes on.

    Exit status: 1 if cells have failed, 3 if the time was up before all had ended.

    Args:
        suite: A name from `gqn-bench list`, a file of your own that ends in .toml, or FILE.py:CELLS.
        out: Folder for everything; runs/SUITE by default. Several commands may share it.
        workers: Cells side by side; one per core by default, as far as memory allows.
        encoder: In place of the GQN's: a name, a folder, or a function of your own as FILE.py:FUNCTION.
        steps: Budget of every cell instead of the suite's.
        seeds: Instead of the suite's.
        tasks: Only these of the suite's.
        methods: Only these of the suite's.
        cameras: Only these of the suite's.
        time_limit: Minutes after which nothing is started and running cells stop at their next evaluation.
        retry_failed: Run cells again that have failed.
        tensorboard: Write events too, in cells/*/tensorboard; needs the extra `tensorboard`.
        engine: local, or ray: on a cluster, which needs no shared disk; see docs/clusters.
        ray: Of the engine ray.
    """
    from .engine import RunOptions, run_suite
    from .overrides import Overrides, overridden
    from .shown import summary_of
    from .suite_files import find_suite, suite_title
    from .suites import with_encoder

    if tensorboard and engine == "ray":
        raise ValueError(
            "nodes do not send TensorBoard's events back: leave out --tensorboard or --engine ray"
        )
    chosen = overridden(find_suite(suite), Overrides(steps, seeds, tasks, methods, cameras))
    if encoder is not None:
        chosen = with_encoder(chosen, encoder)
    seconds = None if time_limit is None else 60 * time_limit
    options = RunOptions(workers, retry_failed, seconds, tensorboard, ray if engine == "ray" else None)
    progress = run_suite(chosen, out or Path("runs", suite_title(suite)), options)
    print(summary_of(progress))
    if progress.count("failed"):
        print("see done.json of the failed cells; --retry-failed runs them again", file=sys.stderr)
        raise SystemExit(1)
    if progress.count("done") < len(progress.cells):
        print("the time was up: the same command goes on", file=sys.stderr)
        raise SystemExit(3)


@app.command(name="status")
def status(folder: Positional[Path]) -> None:
    """Say how far a suite is, also one that another command runs.

    Args:
        folder: What `gqn-bench run --out` writes.
    """
    from .progress import progress_in
    from .shown import progress_table

    Console().print(progress_table(progress_in(folder)))


@app.command(name="film")
def film(folder: Positional[Path], methods: tuple[str, ...] = ()) -> None:
    """Film final agents, as GIFs that the report shows: one of each method, task and camera.

    Args:
        folder: What `gqn-bench run --out` wrote.
        methods: Those to film; all that look at images by default.
    """
    from .films import write_films

    for path in write_films(folder, methods):
        print(path)


@app.command(name="export")
def export(folder: Positional[Path], archive: Positional[Path]) -> None:
    """Pack the finished cells of a suite into one file.

    Args:
        folder: What `gqn-bench run --out` writes.
        archive: Zip file to write.
    """
    from .archives import export_cells

    print(f"{export_cells(folder, archive)} cells in {archive}")


@app.command(name="import")
def import_(archives: Positional[tuple[Path, ...]], out: Path) -> None:
    """Put the cells of archives into a suite's folder, beside what is there.

    Args:
        archives: Files that `gqn-bench export` wrote.
        out: Folder of the suite; a new one is made.
    """
    from .archives import import_cells

    print(f"{sum(import_cells(archive, out) for archive in archives)} new cells in {out}")


@app.command(name="tune")
def tune(
    methods: Positional[tuple[str, ...]] = (),
    out: Path = Path("runs/tune"),
    trials: int = 12,
    steps: int = 100_000,
    family: str = "small",
    workers: int | None = None,
) -> None:
    """Search settings of methods with the same budget each, on seeds that no result uses.

    Args:
        methods: Any of pixels-aug, gqn-frozen, random-frozen and ae-frozen; by default all.
        out: Folder for METHOD.csv with all trials, and for their cells. What is finished is skipped.
        trials: Settings tried for each method; the first are those that hold without tuning.
        steps: Environment steps of a trial.
        family: Of the encoders: a key of gqn_transfer.benchmarks.grids.FAMILIES.
        workers: Methods side by side; one per core by default.
    """
    from .search_space import TUNED
    from .tuning import TuneConfig
    from .tuning import tune as search

    search(methods or TUNED, out, TuneConfig(trials, steps, family=family), workers)
    print(f"trials: {out}")


@app.command(name="report")
def report(folder: Positional[Path], out: Path | None = None) -> None:
    """Write index.html, figures and tables of a suite, and print the summary.

    Args:
        folder: What `gqn-bench run --out` wrote.
        out: Folder for the report; FOLDER/report by default.
    """
    from .findings import findings_of
    from .report import print_summary, write_report

    found = findings_of(folder)
    path = write_report(folder, out, found)
    print_summary(found)
    print(f"report: {path}")
