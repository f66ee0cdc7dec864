"""Films of kept agents: what they do, what they see, and what their code says; shown in the report."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gqn_transfer.benchmarks.cell_files import cell_folder
from gqn_transfer.benchmarks.cells import Cell
from gqn_transfer.benchmarks.curves import RecordError
from gqn_transfer.benchmarks.films import film_of, write_films
from gqn_transfer.benchmarks.records import film_path, read_suite
from gqn_transfer.benchmarks.report import write_report
from gqn_transfer.benchmarks.run_cell import run_cell
from gqn_transfer.encoder import find_checkpoint

OPTIONS = (("batch_size", 250), ("episodes", 2), ("evaluate_every", 250), ("num_envs", 2))
STATE = Cell("t", "Reach-v0", "state", "ppo", "fixed", "", 0, 250, OPTIONS)
FROZEN = STATE._replace(method="gqn-frozen", encoder="jaco-small", camera="moving")
STACKED = FROZEN._replace(camera="fixed", options=(*OPTIONS, ("views", 3)))
TUNED = FROZEN._replace(method="gqn-finetune", camera="fixed")
PIXELS = STATE._replace(method="pixels")
OFF_POLICY = FROZEN._replace(algo="sac", camera="fixed")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    for cell in (STATE, FROZEN, STACKED, TUNED, PIXELS, OFF_POLICY):
        encoder = find_checkpoint(cell.encoder) if cell.encoder else None
        run_cell(cell, cell_folder(folder, cell), encoder)
    return folder


@pytest.mark.parametrize("cell", [FROZEN, STACKED, TUNED], ids=["one view", "three views", "fine-tuned"])
def test_a_gqns_film_has_its_own_drawing(cell: Cell, suite: Path) -> None:
    (record,) = (one for one in read_suite(suite) if one.cell == cell)
    film = film_of(suite, record)
    assert ("the generator of before" in film.caption) == (cell is TUNED)
    assert film.caption.count(";") == 3, film.caption
    assert len(film.frames) == 50
    shapes = [picture.shape for picture in film.frames[0]]
    assert shapes == [(480, 480, 3), (64, 64, 3), (64, 64, 3), (64, 64, 3)]
    truth, drawn = (np.stack([frame[k] for frame in film.frames]).astype(float) for k in (2, 3))
    plain = np.abs(truth - truth.mean((0, 1, 2))).mean()
    assert np.abs(truth - drawn).mean() < 0.5 * plain  # it draws this scene, from a camera it was not given
    assert not np.array_equal(film.frames[0][1], film.frames[0][2])


def test_films_of_all_that_look_and_their_place_in_the_report(suite: Path) -> None:
    before = write_report(suite).read_text()
    paths = write_films(suite)
    with_a_code = (FROZEN, STACKED, TUNED, OFF_POLICY)
    expected = {film_path(suite, cell): 4 for cell in with_a_code} | {film_path(suite, PIXELS): 2}
    assert set(paths) == set(expected)
    for path, pictures in expected.items():
        with Image.open(path) as film:
            assert film.size == (pictures * 264 - 8, 256)
            assert film.n_frames > 1
    after = write_report(suite).read_text()
    assert (before.count("data:image/gif"), after.count("data:image/gif")) == (0, 5)
    assert after.count("drawn from the agent&#39;s own code") == 4  # raw pixels draw nothing


def test_methods_are_chosen_and_a_folder_without_agents_is_named(suite: Path, tmp_path: Path) -> None:
    assert write_films(suite, ("pixels",)) == [film_path(suite, PIXELS)]
    with pytest.raises(RecordError, match="no finished cell of such a method whose agent was kept"):
        write_films(suite, ("ae-frozen",))
