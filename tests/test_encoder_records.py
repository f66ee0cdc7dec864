"""What is read of encoders beside their weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gqn_transfer.benchmarks.curves import RecordError
from gqn_transfer.benchmarks.encoder_records import mean_of, read_encoders

PROBES = """probe,quantity,unit,median_error,r2
ridge,hand,m,0.05,0.9
mlp,hand,m,0.02,0.98
mlp,target,m,0.03,0.97
"""


def encoder(folder: Path, **tables: str) -> Path:
    place = folder / "encoders" / "conv"
    place.mkdir(parents=True)
    for name, text in tables.items():
        (place / f"{name}.csv").write_text(text)
    return place


def test_a_folder_without_encoders_has_none(tmp_path: Path) -> None:
    assert read_encoders(tmp_path) == []


def test_figures_are_read_by_name(tmp_path: Path) -> None:
    encoder(
        tmp_path,
        probes=PROBES,
        training="step,seconds\n1,10.5\n2,21.5\n",
        rendering="figure,contexts,value\nprior_sample_psnr,1,20\nprior_sample_psnr,3,25\n",
    )
    (found,) = read_encoders(tmp_path)
    assert (found.name, found.predictions) == ("conv", None)
    assert (found.probe_error("hand"), found.probe_error("hand", "ridge")) == (0.02, 0.05)
    assert found.last("seconds") == 21.5
    assert (found.drawn("prior_sample_psnr", 1), found.drawn("prior_sample_psnr", 3)) == (20.0, 25.0)


def test_what_is_not_known_is_not_a_number(tmp_path: Path) -> None:
    place = encoder(tmp_path, probes=PROBES, training="step,seconds\n1,10.5\n")
    (found,) = read_encoders(tmp_path)
    unknown = [found.probe_error("joint 1"), found.last("test_mse_1"), found.drawn("prior_sample_psnr", 3)]
    assert all(map(math.isnan, unknown))
    assert math.isnan(mean_of(unknown))
    assert mean_of([1.0, math.nan, 2.0]) == 1.5
    (place / "training.csv").unlink()
    (found,) = read_encoders(tmp_path)
    assert (found.training, math.isnan(found.last("seconds"))) == ([], True)


def test_a_torn_line_is_dropped_and_a_short_row_is_said(tmp_path: Path) -> None:
    place = encoder(tmp_path, probes=f"{PROBES}mlp,joint 1,rad,0.")
    (found,) = read_encoders(tmp_path)
    assert [row["quantity"] for row in found.probes] == ["hand", "hand", "target"]
    (place / "probes.csv").write_text("probe,error_cm\nridge\n")
    with pytest.raises(RecordError, match="'ridge' has 1 values, the header 2"):
        read_encoders(tmp_path)
