"""The tables of a shipped encoder's card, from what `gqn-bench evaluate` measured.

python scripts/card_tables.py docs/results/jaco-small/evaluation.csv jaco-small
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import tyro
from tyro.conf import Positional

from gqn_transfer.benchmarks.checkpoint_evaluation import CHANCE
from gqn_transfer.envs.registry import TASKS

Key = tuple[str, str, str]
"""Figure, part and contexts of a line of evaluation.csv."""
Figures = Mapping[Key, tuple[float, str]]
"""Value and unit."""
Table = tuple[str, Iterable[str], Mapping[str, list[Key]]]
"""What its rows are, names of the other columns, and of each row what stands in them."""

UNITS = {"m": (100, " cm", 1), "rad": (1, " rad", 2), "1": (1, "", 2)}
"""Unit -> factor, unit and digits on a card; of others one digit."""
VIEWS = {"1": "1 view", "3": "3 views", "5": "5 views"}
DRAWN = {
    "PSNR of the image": ("prior_sample_psnr", "image"),
    "PSNR of the arm": ("prior_sample_psnr", "arm"),
    "PSNR of the target": ("prior_sample_psnr", "target"),
    "PSNR of the fingers": ("prior_sample_psnr", "fingers"),
    "−ELBO above its floor, sigma 0.7": ("elbo_above_floor", "sigma 0.7"),
    "−ELBO above its floor, sigma 0.15": ("elbo_above_floor", "sigma 0.15"),
}
PLACES = ("hand", "target", "object")
JOINTS = tuple(f"joint_{k}" for k in range(1, 7))
PROBES = {"guess": "without looking", "ridge": "ridge", "mlp": "MLP"}
TASK_PROBES = {
    "mlp": "MLP of scenes",
    "own_ridge": "ridge of the task",
    "own_mlp": "MLP of the task",
}
ABOUT = {"Pose-v0": ("hand", *JOINTS)}
"""Task -> what is read from its frames, if not places."""
CODES = {
    "distance of codes, same scene over another": "view_distance_ratio",
    "scenes found again from another camera": "view_retrieval",
}


def tables() -> tuple[Table, ...]:
    """All that a card may have."""
    in_tasks = [(what, task) for task in TASKS for what in ABOUT.get(task, PLACES)]
    return (
        (
            "drawn of another view, from",
            VIEWS.values(),
            {words: [(*what, views) for views in VIEWS] for words, what in DRAWN.items()},
        ),
        (
            "read from one view, median error",
            PROBES.values(),
            {
                what: [(f"probe_{probe}_median_error", what, "1") for probe in PROBES]
                for what in (*PLACES, *JOINTS)
            },
        ),
        (
            "read in tasks, median error",
            TASK_PROBES.values(),
            {
                f"{task}: {what}": [
                    (f"task_{probe}_median_error", f"{what} in {task}", "1") for probe in TASK_PROBES
                ]
                for what, task in in_tasks
            },
        ),
        ("two views", ("value",), {words: [(figure, "code", "1")] for words, figure in CODES.items()}),
    )


def card_tables(figures: Figures) -> str:
    """Tables in Markdown of all that was measured, one empty line between them."""
    texts = [_in_markdown(*table, figures) for table in tables()]
    return "\n\n".join(text for text in texts if text)


def _in_markdown(what: str, columns: Iterable[str], rows: Mapping[str, list[Key]], figures: Figures) -> str:
    """Rows and columns in which nothing was measured are left out."""
    cells = {name: [_in_words(figures.get(key)) for key in keys] for name, keys in rows.items()}
    measured = [(name, row) for name, row in cells.items() if any(row)]
    if not measured:
        return ""
    kept = [any(column) for column in zip(*(row for _, row in measured), strict=True)]
    lines = [(what, list(columns)), ("---", ["---"] * len(kept)), *measured]
    return "\n".join(
        "| " + " | ".join([name, *(cell for cell, keep in zip(row, kept, strict=True) if keep)]) + " |"
        for name, row in lines
    )


def _in_words(figure: tuple[float, str] | None) -> str:
    if figure is None:
        return ""
    value, unit = figure
    factor, written, digits = UNITS.get(unit, (1, f" {unit}", 1))
    return f"{value * factor:.{digits}f}{written}"


def read_figures(path: Path, checkpoint: str) -> Figures:
    """What the evaluation in `path`, an evaluation.csv, says of one of its checkpoints, and of a guess."""
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["checkpoint"] in (checkpoint, CHANCE)]
    if checkpoint not in (known := sorted({row["checkpoint"] for row in rows})):
        raise SystemExit(f"{path} says nothing of {checkpoint}, but of {', '.join(known)}")
    rows.sort(key=lambda row: row["checkpoint"] == checkpoint)  # its own last: they count
    return {(row["figure"], row["part"], row["contexts"]): (float(row["value"]), row["unit"]) for row in rows}


def main(evaluation: Positional[Path], checkpoint: Positional[str]) -> None:
    """Print a card's tables."""
    print(card_tables(read_figures(evaluation, checkpoint)))


if __name__ == "__main__":
    tyro.cli(main)
