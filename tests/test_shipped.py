"""The encoder in the package: found by name, sees what tasks show today, and is what its card says."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from gqn_transfer.checkpoint import read_record, tensor_names
from gqn_transfer.encoder import available_encoders, find_checkpoint, load_encoder, load_gqn
from gqn_transfer.envs.reference import reference_render
from gqn_transfer.envs.registry import TASKS
from gqn_transfer.envs.scenes import sample_scenes
from gqn_transfer.envs.state import SCENE_COLUMNS
from gqn_transfer.evaluation import Protocol, rendering_figures
from gqn_transfer.probes import errors, fit_ridge
from gqn_transfer.reference import difference_warning
from gqn_transfer.scenes import Batch
from gqn_transfer.state_columns import Standardised

NAME = "jaco-small"
NAMES = available_encoders()
ROOT = Path(__file__).parents[1]
RESULTS, SCRIPTS = ROOT / "docs/results", ROOT / "scripts"


def figures_of(name: str) -> dict[tuple[str, str, str], float]:
    with (RESULTS / name / "evaluation.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["checkpoint"] == name]
    return {(row["figure"], row["part"], row["contexts"]): float(row["value"]) for row in rows}


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str, str], float]:
    return figures_of(NAME)


def test_they_ship_under_their_names() -> None:
    small = {NAME, f"{NAME}-ae", f"{NAME}-supervised", "reach-random"}
    assert small | {"jaco-core", "jaco-256", "jaco-256-ae", "jaco-256-random"} <= set(NAMES)
    for name in NAMES:
        encoder = load_encoder(name)
        assert (encoder.features_dim, encoder.config.image_size) == (256, 64)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_has_the_tables_of_the_evaluation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    script = importlib.import_module("card_tables")
    measured = script.card_tables(script.read_figures(RESULTS / name / "evaluation.csv", name))
    assert measured.count("\n| hand |") == 1
    assert f"\n\n{measured}\n\n" in (find_checkpoint(name) / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_what_its_training_knew_of_pixels(name: str) -> None:
    config = read_record(find_checkpoint(name))["config"]
    told = "rendering" in config["decoders"] and len(set(config["label_weights"])) > 1
    card = (find_checkpoint(name) / "README.md").read_text()
    assert ("\n| weights by label | " in card) == told
    if told:
        _, arm, target, *_ = config["label_weights"]
        assert f"counts {arm:g} times" in card
        assert f" {target:g} times," in card


def test_they_are_small_enough_for_a_package() -> None:
    sizes = [path.stat().st_size for name in NAMES for path in find_checkpoint(name).iterdir()]
    assert max(sizes) <= 16 * 2**20
    assert sum(sizes) <= 48 * 2**20


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", list(TASKS))
def test_tasks_look_as_they_did_in_their_training(task: str, name: str) -> None:
    assert difference_warning(find_checkpoint(name), task, reference_render(task)) is None


def test_weights_of_a_seed_are_those_that_its_statistics_are_of() -> None:
    assert not any(name.startswith("model.") for name in tensor_names(find_checkpoint("reach-random")))
    arrays, encoder = sample_scenes(300, 1, np.random.default_rng(20_003)), load_encoder("reach-random")
    images = torch.from_numpy(arrays.images[:, 0]).permute(0, 3, 1, 2)
    with torch.no_grad():
        codes = encoder.standardise(encoder(images, torch.from_numpy(arrays.viewpoints[:, 0])))
    assert codes.mean(0).abs().max() < 0.3
    assert (codes.std(0) - 1).abs().max() < 0.3


def test_it_draws_scenes_rendered_now(measured: dict[tuple[str, str, str], float]) -> None:
    batch = Batch(*sample_scenes(60, 4, np.random.default_rng(20_001)))
    protocol = Protocol(contexts=(3,), samples=1, bound=False)
    figures = rendering_figures(load_gqn(NAME), [batch], protocol, torch.Generator().manual_seed(0))
    (psnr,) = (row.value for row in figures if row[:2] == ("prior_sample_psnr", "image"))
    assert psnr == pytest.approx(measured["prior_sample_psnr", "image", "3"], abs=0.7)


def test_a_linear_map_of_its_codes_tells_hand_and_target() -> None:
    arrays = sample_scenes(1500, 1, np.random.default_rng(20_002))
    encoder, fitted = load_encoder(NAME), 1200
    images = torch.from_numpy(arrays.images[:, 0]).permute(0, 3, 1, 2)
    with torch.no_grad():
        codes = encoder.standardise(encoder(images, torch.from_numpy(arrays.viewpoints[:, 0])))
    targets = Standardised(arrays.state[:fitted])
    predicted = targets.undo(fit_ridge(codes[:fitted], targets.values, codes[fitted:]))
    found = {row.quantity: row.median_error for row in
             errors("ridge", predicted, arrays.state[fitted:], SCENE_COLUMNS)}  # fmt: skip
    assert found["hand"] < 0.10  # metres; a guess is off by 0.3
    assert found["target"] < 0.10
