"""Put the encoder of a finished run into the package, in half precision: its card is still to be written.

python scripts/ship_encoder.py runs/autoencoder jaco-small-ae --figures figures --encoder-only
"""

import csv
import shlex
import shutil
from pathlib import Path
from typing import Any

import torch
import tyro
from tyro.conf import Positional

from gqn_transfer.checkpoint import load_tensors, read_record, save_checkpoint
from gqn_transfer.encoder import SHIPPED, find_checkpoint, is_untrained
from gqn_transfer.envs.registry import TASKS

PLACES = ("hand", "target", "object")
JOINTS = tuple(f"joint_{k}" for k in range(1, 7))
PLACES_IN_TASKS = tuple(f"{place} in {task}" for task in TASKS for place in PLACES)
CARD = {
    "prior_sample_psnr": ("image", "arm", "target", "fingers"),
    "elbo_above_floor": ("sigma 0.7", "sigma 0.15"),
    "probe_mlp_median_error": (*PLACES, *JOINTS),
    "probe_ridge_median_error": PLACES,
    "view_distance_ratio": ("code",),
    "view_retrieval": ("code",),
    "task_mlp_median_error": (
        *PLACES_IN_TASKS,
        *(f"{joint} in {task}" for task in TASKS for joint in JOINTS),
    ),
    "task_own_ridge_median_error": PLACES_IN_TASKS,
    "task_own_mlp_median_error": PLACES_IN_TASKS,
}
"""Figures of a card's table and the parts that it names, as far as they were measured."""


def main(run: Positional[Path], name: Positional[str], figures: Path, encoder_only: bool = False) -> None:
    """Ship an encoder.

    Args:
        run: Folder that `gqn-bench pretrain` wrote.
        name: Under which it ships.
        figures: Folder that `gqn-bench evaluate RUN` wrote: its probes and pictures ship too, for reports.
        encoder_only: Leave the generator out: a control needs none.
    """
    source, target = find_checkpoint(run), SHIPPED / name
    record, tensors = read_record(source), load_tensors(source)
    if "tier" in record:
        raise SystemExit(f"{source} is a tier: what it stands on would have to ship with it")
    if is_untrained(record):  # its weights are those of its seed
        tensors = {key: value for key, value in tensors.items() if not key.startswith("model.")}
    elif encoder_only:
        tensors = {key: value for key, value in tensors.items() if ".generator." not in key}
    halved = {key: value.half() if key.startswith("model.") else value for key, value in tensors.items()}
    save_checkpoint(target, halved, without_paths(record))
    shutil.copy(source / "reference.safetensors", target)
    for picture_or_table in {"probes.csv", "predictions.png"} & {path.name for path in figures.iterdir()}:
        shutil.copy(figures / picture_or_table, target)
    for path in target.iterdir():
        path.chmod(0o644)  # as the rest of the package
    size = sum(path.stat().st_size for path in target.iterdir()) / 2**20
    print(f"{target}: {size:.1f} MiB, fingerprint {read_record(target)['fingerprint']}")
    print("\n".join(card_rows(figures / "evaluation.csv", run.name)))


def without_paths(record: dict[str, Any]) -> dict[str, Any]:
    """The record with a command that names no folder of this machine."""
    words = shlex.split(record["provenance"]["command"])
    command = shlex.join([Path(word).name if Path(word).is_absolute() else word for word in words])
    return record | {"provenance": record["provenance"] | {"command": command}}


def card_rows(figures: Path, checkpoint: str) -> list[str]:
    """The card's table, from the evaluation."""
    with figures.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["checkpoint"] == checkpoint]
    return [_card_row(row) for row in rows if row["part"] in CARD.get(row["figure"], ())]


def _card_row(row: dict[str, str]) -> str:
    units = {"m": (100, "cm", 1), "rad": (1, "rad", 2), "1": (1, "", 2)}
    factor, unit, digits = units.get(row["unit"], (1, row["unit"], 1))
    value = f"{float(row['value']) * factor:.{digits}f} {unit}".strip()
    return f"| `{row['figure']}` | {row['part']} | {row['contexts'] or '–'} | {value} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
