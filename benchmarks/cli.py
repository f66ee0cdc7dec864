"""The command `gqn-bench`: thin functions whose signatures are the command line."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from .limits import usable_cores
from .ray_options import RayOptions

SUMMARY = """Does a scene representation, learned from rendering alone, let robot-arm agents learn from fewer
interactions than raw pixels? Start with `gqn-bench run quick`, then `gqn-bench report runs/quick`."""

app = tyro.extras.SubcommandApp()


@app.command(name="doctor")
def doctor() -> None:
    """Say what this machine renders with, how fast, and which versions are installed."""
    from .doctor import print_report

    print_report(Console())


@app.command(name="scenes")
def scenes(
    out: Path,
    scenes: int = 20_000,
    test_scenes: int = 1_000,
    views: int = 6,
    image_size: int = 64,
    randomize: str = "none",
    camera: str = "dome",
    tasks: tuple[str, ...] = ("Reach-v0",),
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Render training and held-out scenes into a folder; goes on where an earlier call stopped.

    Args:
        out: Folder for train/ and test/.
        scenes: Training scenes.
        test_scenes: Held-out scenes, from seeds of their own.
        views: Cameras per scene.
        image_size: Pixels, square.
        randomize: Looks: none, colors or full.
        camera: dome, held_out (the wedge no training camera sees) or fixed.
        tasks: Each scene holds what one of them shows; names from gqn_transfer.envs.TASKS.
        seed: Of everything random.
        workers: Processes; one per core by default.
    """
    from .scene_factory import ScenesConfig, make_scenes

    config = ScenesConfig(scenes, test_scenes, views, image_size, randomize, camera, seed, tasks)
    train, test = make_scenes(config, out, workers)
    print(f"{len(train)} training and {len(test)} held-out scenes of {views} views in {out}")


@app.command(name="scenes-from-tfrecords")
def scenes_from_tfrecords(
    source: Positional[Path],
    dataset: str,
    out: Path,
    scenes: int = 20_000,
    test_scenes: int = 1_000,
    views: int = 6,
    image_size: int = 64,
    workers: int | None = None,
) -> None:
    """Convert a data set of DeepMind's GQN into scenes; goes on where an earlier call stopped.

    Args:
        source: Folder with train/ and test/, each with some of the set's .tfrecord files.
        dataset: Its name: that of the folder that DeepMind keeps it in.
        out: Folder for train/ and test/.
        scenes: Training scenes at most: the first ones.
        test_scenes: Held-out scenes at most, of the set's own test split.
        views: Views kept of each scene: the first (jaco has 11, rooms 10, Shepard-Metzler 15, mazes 300).
        image_size: Pixels, square; other images are resized (mazes has 84, one set of rooms 128).
        workers: Processes; one per core by default.
    """
    from .tfrecord_scenes import ConversionConfig, convert_scenes

    config = ConversionConfig(dataset, scenes, test_scenes, views, image_size)
    train, test = convert_scenes(source, config, out, workers)
    print(f"{len(train)} training and {len(test)} held-out scenes of {views} views in {out}")


@app.command(name="pretrain")
def pretrain(
    scenes: Path,
    out: Path,
    preset: str = "cpu-30min",
    seed: int = 0,
    decoders: tuple[str, ...] = (),
    train: tuple[str, ...] = (),
    start_from: str | None = None,
    fresh: int = 0,
    max_seconds: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
    tensorboard: bool = False,
) -> None:
    """Train an encoder on rendered scenes; goes on where an earlier call stopped.

    Args:
        scenes: Folder that `gqn-bench scenes` wrote.
        out: Folder of the run; the encoder appears in out/encoder.
        preset: What to train and how long: a name from gqn_transfer.presets.PRESETS, or a TOML file.
        seed: Of weights, batches and latents.
        decoders: What the codes are trained for instead of the preset's: rendering, state, segmentation.
        train: What gradients reach: encoder, decoder, or single decoders by name; the preset's by default.
        start_from: Checkpoint (name or folder) to take weights from; decoders that it lacks are new.
        fresh: Processes that render new scenes for every batch, instead of drawing from the folder.
        max_seconds: Stop after a checkpoint by then; the same command goes on.
        device: auto, cpu or cuda.
        precision: auto (bf16 where the hardware has it), bf16 or fp32.
        compiled: Use torch.compile; needs a C++ compiler on a CPU.
        tensorboard: Write the learning curve for TensorBoard too, into out/tensorboard.
    """
    from gqn_transfer.precision import choose_device
    from gqn_transfer.presets import adjusted, preset_named
    from gqn_transfer.pretrain import pretrain as run
    from gqn_transfer.ranks import join, leave, local_device
    from gqn_transfer.scenes import Scenes

    from .artefacts import provenance
    from .fresh_scenes import fresh_scenes

    config = adjusted(preset_named(preset), seed, decoders, train)
    training, test = Scenes.open(scenes / "train"), Scenes.open(scenes / "test")
    ranks = join(local_device(choose_device(device)))
    with fresh_scenes(training, config, fresh, ranks) as source:
        result = run(
            config, training, test, out, start_from=start_from, source=source, max_seconds=max_seconds,
            device=device, precision=precision, compiled=compiled, tensorboard=tensorboard,
            provenance=provenance(),
        )  # fmt: skip
    leave()
    print(
        f"encoder in {result.encoder}" if result.finished else f"stopped at step {result.step}: run it again"
    )


@app.command(name="evaluate")
def evaluate(
    checkpoint: Positional[str],
    scenes: Path,
    out: Path,
    beside: tuple[str, ...] = (),
    count: int = 1000,
    samples: int = 4,
    seed: int = 0,
    device: str = "auto",
    tasks: tuple[str, ...] = (),
) -> None:
    """Measure on held-out scenes what a GQN predicts and what its codes say, beside other checkpoints.

    Args:
        checkpoint: A shipped name or a checkpoint's folder.
        scenes: Folder that `gqn-bench scenes` wrote.
        out: Folder for evaluation.json, evaluation.csv, probes.csv, predictions.png, and of several
            checkpoints likeness.csv: how alike their codes are.
        beside: More checkpoints for the same table, such as an untrained one.
        count: Held-out scenes, at most.
        samples: Samples of prior and posterior for each query.
        seed: Of the samples and of the MLP probe.
        device: auto, cpu or cuda.
        tasks: On whose frames, as agents meet them, codes are probed too.
    """
    from .checkpoint_evaluation import EvaluationConfig, evaluate_checkpoints
    from .evaluation_files import write_evaluation
    from .evaluation_table import print_evaluation

    config = EvaluationConfig(count, samples, seed, device, tasks)
    evaluation = evaluate_checkpoints((checkpoint, *beside), scenes, config)
    write_evaluation(evaluation, out)
    print_evaluation(evaluation)
    print(f"figures: {out / 'evaluation.json'}")


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
    """Search settings for each method with the same budget, on seeds that no result uses.

    Args:
        methods: What to tune; by default pixels-aug, gqn-frozen, random-frozen and ae-frozen.
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


def main() -> None:
    """Entry point: errors that a user can mend are one message, not a traceback."""
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    try:
        app.cli(prog="gqn-bench", description=SUMMARY)
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"gqn-bench: {error}{_cure(error)}")


def _cure(error: Exception) -> str:
    """What to do about a folder that cannot be written, where the system's message does not say."""
    if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ": make it writable, or name another folder where the command takes one"
    return ""


if __name__ == "__main__":  # for `torchrun -m`
    main()
