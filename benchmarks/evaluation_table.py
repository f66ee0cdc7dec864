"""The evaluation in the terminal: one row a figure, one column a checkpoint, and what chance gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from gqn_transfer.evaluation import Figure
from gqn_transfer.subject import UNTRAINED

from .checkpoint_evaluation import CHANCE, Evaluated, Evaluation

DASH, CONSTANT, MORE = "–", "constant", "*"
Found = Mapping[tuple[str, str, int | None], Figure]
"""Figures by name, part and contexts."""


class Line(NamedTuple):
    """One row of the table."""

    title: str
    figure: str
    part: str
    contexts: int
    chance: str = ""
    """The figure of chance that stands beside it."""
    mark: str = ""
    """Behind the number of contexts."""


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print the table, and below it what could not be computed."""
    console = console or Console()
    title = (
        f"{evaluation.ground.count} held-out scenes; views: how many were given, the query never among them"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("figure", no_wrap=True)
    table.add_column("of", no_wrap=True)
    table.add_column("views", justify="right", no_wrap=True)
    for label in (*evaluation.checkpoints, CHANCE):
        table.add_column(label, justify="right", overflow="fold")
    for section in sections(evaluation):
        add_section(table, section, evaluation)
    console.print(table)
    for note in notes(evaluation):
        console.print(note, markup=False, highlight=False)


def add_section(table: Table, lines: Sequence[Line], evaluation: Evaluation) -> None:
    """Rows under one rule; a title that repeats is left out."""
    chance, before = by_key(evaluation.chance), ""
    for line in lines:
        cells = [cell(line, one) for one in evaluation.checkpoints.values()]
        title = "" if line.title == before else line.title
        what = line.part.replace("_", " ")
        table.add_row(title, what, f"{line.contexts}{line.mark}", *cells, chance_cell(line, chance))
        before = line.title
    table.add_section()


def sections(evaluation: Evaluation) -> Iterator[list[Line]]:
    """The rows of the table; predictions only if some checkpoint makes any."""
    trained = [one.subject.max_contexts for one in evaluation.checkpoints.values() if one.subject.draws]
    if trained:
        contexts, least = evaluation.ground.contexts, min(trained)
        usual = max(number for number in contexts if number <= max(1, least))
        yield list(image_lines(contexts, usual, least))
        yield list(bound_lines(evaluation, usual))
    yield list(probe_lines(evaluation))
    if evaluation.ground.rollouts:
        yield list(task_lines(evaluation))
    yield [
        Line("distance same/other", "view_distance_ratio", "code", 1, "view_distance_ratio"),
        Line("same is nearest, %", "view_retrieval", "code", 1, "view_retrieval"),
    ]


def image_lines(contexts: Iterable[int], usual: int, trained: int) -> Iterator[Line]:
    """PSNR and SSIM of samples by contexts; the rest from `usual` many."""
    for number in contexts:
        mark = MORE * (number > trained)
        yield Line("sample PSNR, dB", "prior_sample_psnr", "image", number, "mean_image_psnr", mark)
    for part in ("arm", "target"):
        yield Line("sample PSNR, dB", "prior_sample_psnr", part, usual, "mean_image_psnr")
    for number in contexts:
        mark = MORE * (number > trained)
        yield Line("sample SSIM", "prior_sample_ssim", "image", number, "mean_image_ssim", mark)
    yield Line("prior-mean PSNR, dB", "prior_mean_psnr", "image", usual, "mean_image_psnr")
    yield Line("posterior PSNR, dB", "reconstruction_psnr", "image", usual)


def bound_lines(evaluation: Evaluation, usual: int) -> Iterator[Line]:
    """The bound and the KL from `usual` many contexts, with every sigma and layer that any has."""
    figures = [row for one in evaluation.checkpoints.values() for row in one.figures]
    titles = {
        "elbo_above_floor": "-ELBO over floor, nats",
        "elbo_bits": "-ELBO, bits/dim",
        "kl": "KL, nats",
    }
    for name, title in titles.items():
        for part in dict.fromkeys(row.part for row in figures if row.figure == name):
            yield Line(title, name, part, usual)


def probe_lines(evaluation: Evaluation) -> Iterator[Line]:
    """Every quantity that some probe read, and those that are constant."""
    rows = [row for one in evaluation.checkpoints.values() for row in one.probes]
    constant = {name for one in evaluation.checkpoints.values() for name in one.constants}
    for probe in dict.fromkeys(row.probe for row in rows):
        for quantity, unit in dict.fromkeys((row.quantity, row.unit) for row in rows):
            title = f"{probe}, {unit} (R²)"
            yield Line(title, f"probe_{probe}_median_error", quantity, 1, "probe_guess_median_error")
    for name in sorted(constant):
        yield Line("probes", CONSTANT, name, 1)


def task_lines(evaluation: Evaluation) -> Iterator[Line]:
    """What codes say of the tasks' frames, and how strange these are."""
    figures = [row for one in evaluation.checkpoints.values() for row in one.figures]
    titles = {
        "task_mlp_median_error": "mlp in tasks",
        "task_own_ridge_median_error": "their own ridge",
        "task_own_mlp_median_error": "their own mlp",
        "task_strangeness": "strangeness",
    }
    for name, title in titles.items():
        for part, unit in dict.fromkeys((row.part, row.unit) for row in figures if row.figure == name):
            if "own" in name and unit != "m":
                continue  # the files have them
            yield Line(title + f", {unit}" * (unit != "1"), name, part, 1)


def by_key(figures: Iterable[Figure]) -> Found:
    """Figures by name, part and contexts."""
    return {(row.figure, row.part, row.contexts): row for row in figures}


def cell(line: Line, one: Evaluated) -> str:
    """The figure, with R² for a probe; else a word for why there is none."""
    found = by_key(one.figures)
    if row := found.get((line.figure, line.part, line.contexts)):
        r2 = found.get((line.figure.replace("_median_error", "_r2"), line.part, line.contexts))
        return number(row) + (
            f" ({round(r2.value, 2) + 0.0:.2f})" if r2 and line.figure.startswith("probe") else ""
        )
    if line.figure == CONSTANT:
        return CONSTANT
    untrained = one.subject.steps == 0 and not line.figure.startswith("probe")
    return UNTRAINED if untrained else DASH


def chance_cell(line: Line, chance: Found) -> str:
    """What chance gives for this row, "" where that means nothing."""
    found = [chance.get((line.chance, line.part, contexts)) for contexts in (line.contexts, None)]
    return next((number(row) for row in found if row), "")


def number(row: Figure) -> str:
    """The value in the digits that it deserves; shares of retrieval in percent."""
    if row.figure == "view_retrieval":
        return f"{100 * row.value:.1f}"
    digits = {"dB": 2, "nats": 1, "bits/dim": 4}.get(row.unit, 3)
    return f"{row.value:.{digits}f}"


def notes(evaluation: Evaluation) -> Iterator[str]:
    """What the table cannot say: how to read it, and what is missing for which checkpoints."""
    yield "Probes: median error (R²). Chance: the mean image, the mean state, any scene for any other."
    yield "Samples are of the prior. The posterior sees the query: its images are no predictions."
    if any(
        max(evaluation.ground.contexts) > one.subject.max_contexts for one in evaluation.checkpoints.values()
    ):
        yield f"{MORE} more contexts than in training: the sum over views is larger than the generator knows."
    missing: dict[tuple[str, str], list[str]] = {}
    for label, one in evaluation.checkpoints.items():
        for what, why in one.not_computed.items():
            missing.setdefault((what, why), []).append(label)
    for (what, why), labels in missing.items():
        yield f"No {what} for {', '.join(labels)}: {why}."
