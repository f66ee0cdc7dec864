"""What `gqn-bench` does before any suite: the machine, scenes, encoders, and tasks that train them on."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from tyro.conf import Positional

from .commands import app


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
        tasks: Each scene holds what some of them show; names from gqn_transfer.envs.TASKS.
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
    seed: int | None = None,
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
        seed: Of weights, batches and latents; by default the preset's: 0 unless a file says otherwise.
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

    from .fresh_scenes import fresh_scenes
    from .provenance import provenance

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
    camera: str = "fixed",
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
        camera: Of these frames: fixed, moving or jump.
    """
    from .checkpoint_evaluation import EvaluationConfig, evaluate_checkpoints
    from .evaluation_files import write_evaluation
    from .evaluation_table import print_evaluation

    config = EvaluationConfig(count, samples, seed, device, tasks, camera)
    evaluation = evaluate_checkpoints((checkpoint, *beside), scenes, config)
    write_evaluation(evaluation, out)
    print_evaluation(evaluation)
    print(f"figures: {out / 'evaluation.json'}")


@app.command(name="source")
def source(
    out: Path,
    scenes: Path,
    tasks: tuple[str, ...],
    encoder: str = "jaco-small",
    steps: int = 200_000,
    rendering: bool = True,
    tier: int | None = None,
    tier_bottleneck: float = 0.0,
    tier_history: int = 1,
    in_turn: bool = False,
    surgery: bool = False,
    seed: int = 0,
    max_seconds: float | None = None,
) -> None:
    """Let tasks train an encoder on, or a second representation on top of it; goes on where it was stopped.

    Args:
        out: Folder of the stage; the encoder appears in out/encoder, a curve for each task beside it.
        scenes: Folder that `gqn-bench scenes` wrote: rendering goes on on these, codes are scaled on them.
        tasks: They share the encoder, each with a head of its own: Reach-v0 Grasp-v0 ...
        encoder: What they start from, a shipped name or a folder; one that draws if rendering goes on.
        steps: Environment steps of each task, a multiple of 20,000.
        rendering: The GQN's bound stays on as a loss beside the tasks', unless there is a tier.
        tier: Length of a second representation that the tasks train instead, on the frozen encoder.
        tier_bottleneck: Weight, in the tasks' loss, of the nats by which it differs from noise.
        tier_history: How many last steps it reads.
        in_turn: One task after another.
        surgery: Gradients of tasks lose what is against another's (PCGrad).
        seed: Of heads, environments and batches.
        max_seconds: Stop after an evaluation by then; the same command goes on.
    """
    from gqn_transfer.encoder import find_checkpoint
    from gqn_transfer.scenes import Scenes
    from gqn_transfer.tier import TierConfig

    from .provenance import provenance
    from .source_config import SourceConfig
    from .source_stage import train_source

    if tier is None and (tier_bottleneck or tier_history != 1):
        raise ValueError("--tier-bottleneck and --tier-history are a tier's: give its length with --tier")
    what = {"bottleneck": tier_bottleneck, "history": tier_history}
    on_top = None if tier is None else TierConfig(tier, **what)  # type: ignore[arg-type]
    config = SourceConfig(
        encoder, tasks, steps, rendering and tier is None, on_top,
        in_turn=in_turn, settings=(("surgery", True),) if surgery else (), seed=seed,
    )  # fmt: skip
    start, training = find_checkpoint(encoder), Scenes.open(scenes / "train")
    limit = math.inf if max_seconds is None else max_seconds
    made = train_source(config, start, out, training, provenance(), limit)
    print(f"encoder in {made}" if made else "stopped: run the same command again")
