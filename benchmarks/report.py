"""The report of a suite: a self-contained HTML page, figures as PNG and SVG, tables of its numbers."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from gqn_transfer.encoder import SHIPPED, available_encoders
from gqn_transfer.files import read_json, write_bytes, write_text
from gqn_transfer.training_log import PRINTED

from .across import Together
from .cell_files import CONFIG
from .contrasts import contrast_rows
from .encoder_records import EncoderRecord, read_encoder, read_encoders
from .findings import SEED, Findings, findings_of
from .groups import METHOD_ORDER, ORACLE, Panel
from .headlines import area_text
from .incidents import incidents, missing, unfinished
from .protocol import BASELINES
from .records import CellRecord, film_path, read_suite_info
from .summary import Analysis
from .tables import write_tables, write_transfer_tables
from .texts import Row, estimate_text, interval, ratio_text

TEMPLATE = Path(__file__).parent / "assets" / "report.html"


def write_report(folder: Path, target: Path | None = None, found: Findings | None = None) -> Path:
    """Write `target`, FOLDER/report by default: index.html (its path is returned), figures and tables.

    found: what `findings_of(folder)` has given, where it is there already.
    """
    found = found or findings_of(folder)
    target = target or found.folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    figures = {
        one.panel.slug: _write_figures(target, one.panel, np.random.default_rng(SEED))
        for one in found.analyses
    }
    figures |= {one.slug: [_write_profile(target, one)] for one in found.together}
    write_tables(target, found.headline, found.analyses, found.together)
    write_transfer_tables(target, found)
    write_text(target / "index.html", _page(found, figures))
    return target / "index.html"


def print_summary(found: Findings, console: Console | None = None) -> None:
    """Print each panel's table and headline in the terminal."""
    console = console or Console()
    for one in found.analyses:
        table = Table(title=f"{one.panel.title}, {one.panel.algo}", title_justify="left")
        table.add_column("method")
        for name in ("final score", "steps to threshold", "area", "seeds"):
            table.add_column(name, justify="right")
        for row in one.rows:
            median = thousands(row["steps_to_threshold_median"])
            cells = (interval(row, "final_score"), median, interval(row, "area"), row["finished"])
            table.add_row(row["label"], *(text or "–" for text in cells))
        console.print(table)
        console.print(one.headline + "\n", markup=False, highlight=False)
    for line in unfinished(found.records, read_suite_info(found.folder)):
        console.print(line, markup=False, highlight=False)


def thousands(text: str) -> str:
    """ "120000" as "120,000"; other texts stay."""
    return f"{int(text):,}" if text.isdigit() else text


def provenance(records: list[CellRecord], folder: Path) -> list[tuple[str, list[str]]]:
    """Command, versions and machine of all cells, and versions of the source stages that they stand on: key
    and its distinct values."""
    values: dict[str, Counter[str]] = {}
    for record in records:
        for part in ("command", "versions", "machine"):
            for key, value in _flat(part, record.config.get(part, {})):
                values.setdefault(key, Counter())[value] += 1
        mark = (record.done or {}).get("encoder_fingerprint")
        if mark:
            key = f"encoder fingerprint, {record.cell.encoder_name or record.cell.method}"
            values.setdefault(key, Counter())[str(mark)] += 1
    for path in sorted((folder / "encoders").glob(f"*/{CONFIG}")):
        made = read_json(path)
        for key, value in _flat("versions", made.get("versions", {}) if "source" in made else {}):
            values.setdefault(f"{key}, of source stages", Counter())[value] += 1
    return [(key, [value for value, _ in found.most_common()]) for key, found in values.items()]


def _page(found: Findings, figures: dict[str, list[Row]]) -> str:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "thousands": thousands, "ratio": ratio_text, "area": area_text, "estimate": estimate_text,
    }  # fmt: skip
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    records, info = found.records, read_suite_info(found.folder)
    return template.render(
        suite=", ".join(dict.fromkeys(record.cell.suite for record in records)),
        headline=found.headline,
        analyses=found.analyses,
        together=found.together,
        methods=_methods(found.analyses),
        figures=figures,
        transfers=found.transfers,
        sizes=found.sizes,
        sources=found.sources,
        turns=found.turns,
        likeness=found.likeness,
        baselines=BASELINES,
        oracle=ORACLE,
        interval=interval,
        contrast_rows=contrast_rows,
        progress=unfinished(records, info),
        incidents=incidents(found.analyses),
        missing=missing(records, info),
        encoders=[_encoder(encoder) for encoder in _encoders(found.folder, records)],
        films={one.panel.slug: _films(found.folder, one.panel) for one in found.analyses},
        provenance=provenance(records, found.folder),
        settings=_settings(found.analyses),
        seed=SEED,
    )


def _methods(analyses: list[Analysis]) -> list[tuple[str, str]]:
    """Name and colour of every method that is drawn, in the order of the tables."""
    from .axes import OTHER, STYLES  # slow

    names = {group.method for one in analyses for group in one.panel.groups}
    ordered = [name for name in METHOD_ORDER if name in names] + sorted(names - {*METHOD_ORDER})
    return [(name, STYLES.get(name, OTHER).color) for name in ordered]


def _films(folder: Path, panel: Panel) -> list[Row]:
    """The panel's films of agents, one a group."""
    found = {group.label: film_path(folder, group.cell) for group in panel.groups}
    return [
        {"method": method, "source": _embed(path.read_bytes(), "gif"), "text": _comment(path)}
        for method, path in found.items()
        if path.exists()
    ]


def _comment(path: Path) -> str:
    with Image.open(path) as film:
        return bytes(film.info.get("comment", b"")).decode()


def _write_figures(target: Path, panel: Panel, rng: np.random.Generator) -> list[Row]:
    from .figures import QUANTITIES, curve_figure, settings_figure  # slow
    from .size_figure import size_figure
    from .transfer_figure import transfer_figure

    written = []
    for quantity in QUANTITIES:
        text = f"Curves of {quantity} against environment steps, {panel.title}"
        curves = curve_figure(panel, quantity, rng)
        written.append(_write_figure(target, f"{panel.slug}-{quantity}", curves, text))
    if any(group.extra_frames for group in panel.groups):
        text = f"Curves of success against frames rendered, pretraining's included, {panel.title}"
        curves = curve_figure(panel, "success", rng, with_frames=True)
        written.append(_write_figure(target, f"{panel.slug}-success-with-frames", curves, text))
    if (transfer := transfer_figure(panel, rng)) is not None:
        text = f"What {panel.task} takes against how many tasks came before it"
        written.append(_write_figure(target, f"{panel.slug}-transfer", transfer, text))
    if (sizes := size_figure(panel, rng)) is not None:
        text = f"What {panel.task} takes against the numbers of the code that it is learned from"
        written.append(_write_figure(target, f"{panel.slug}-sizes", sizes, text))
    if (settings := settings_figure(panel, rng)) is not None:
        text = f"Success with every setting that was tried, {panel.title}"
        written.append(_write_figure(target, f"{panel.slug}-settings", settings, text))
    return written


def _write_profile(target: Path, group: Together) -> Row:
    from .figures import profile_figure  # slow

    text = f"Performance profiles over {', '.join(group.tasks)}"
    return _write_figure(target, f"{group.slug}-profile", profile_figure(group), text)


def _write_figure(target: Path, name: str, figure: Any, text: str) -> Row:
    """Write a figure as PNG and SVG; what the page needs to know of it."""
    from .drawings import figure_inline, figure_png, figure_svg  # slow

    write_bytes(target / f"{name}.png", figure_png(figure))
    write_bytes(target / f"{name}.svg", figure_svg(figure))
    return {"name": name, "svg": figure_inline(figure), "text": text}


def _encoders(folder: Path, records: list[CellRecord]) -> list[EncoderRecord]:
    """The suite's own encoders, and those that ship and were used."""
    used = {record.cell.encoder_name for record in records}
    shipped = [name for name in available_encoders() if name in used]
    return read_encoders(folder) + [read_encoder(SHIPPED / name) for name in shipped]


def _encoder(encoder: EncoderRecord) -> dict[str, Any]:
    image = _embed(encoder.predictions.read_bytes()) if encoder.predictions else ""
    last = encoder.training[-1] if encoder.training else {}
    shown = {title: last[key] for key, title in PRINTED.items() if key in last}
    return {"name": encoder.name, "image": image, "probes": probe_table(encoder.probes), "training": shown}


def probe_table(found: list[Row]) -> list[list[str]]:
    """`probes.csv`, one row a probe and quantity -> header and one row a quantity, a column a probe."""
    if not found:
        return []
    probes, quantities = (list(dict.fromkeys(row[key] for row in found)) for key in ("probe", "quantity"))
    cell = {(row["quantity"], row["probe"]): _error_text(row) for row in found}
    body = [[quantity, *(cell.get((quantity, probe), "–") for probe in probes)] for quantity in quantities]
    return [["median error", *probes], *body]


def _error_text(row: Row) -> str:
    return f"{float(row['median_error']):.3f} {row['unit']} (R² {float(row['r2']):.2f})"


def _settings(analyses: list[Analysis]) -> list[tuple[str, str]]:
    """Names of the groups whose agents have the same settings, and what these change of the defaults."""
    found: dict[str, list[str]] = {}
    for group in (group for one in analyses for group in one.panel.groups):
        changed = {key.replace("_", " "): value for key, value in group.cell.agent_options.items()}
        text = ", ".join(f"{name} {value}" for name, value in changed.items()) or "the defaults"
        names = found.setdefault(text, [])
        names += [group.label] * (group.label not in names)
    return [(", ".join(names), text) for text, names in found.items()]


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(name if key in ("versions", "machine") else f"{key}.{name}", inner)
    elif value not in (None, ""):
        yield key, str(value)


def _embed(picture: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
