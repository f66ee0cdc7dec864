"""Put the encoder of a finished run into the package, in half precision: its card is still to be written.

python scripts/ship_encoder.py runs/autoencoder jaco-small-ae --figures figures --encoder-only
"""

import shlex
import shutil
from pathlib import Path
from typing import Any

import torch
import tyro
from card_tables import card_tables, read_figures
from tyro.conf import Positional

from gqn_transfer.checkpoint import load_tensors, read_record, save_checkpoint
from gqn_transfer.encoder import SHIPPED, find_checkpoint, is_untrained


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
    print(card_tables(read_figures(figures / "evaluation.csv", run.name)))


def without_paths(record: dict[str, Any]) -> dict[str, Any]:
    """The record with a command that names no folder of this machine."""
    words = shlex.split(record["provenance"]["command"])
    command = shlex.join([Path(word).name if Path(word).is_absolute() else word for word in words])
    return record | {"provenance": record["provenance"] | {"command": command}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
