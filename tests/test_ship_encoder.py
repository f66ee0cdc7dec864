"""What `scripts/ship_encoder.py` puts into the package: the same codes, half the size, no folder's name."""

import importlib.util
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
import torch

from gqn_transfer.checkpoint import CheckpointError, read_record, tensor_names
from gqn_transfer.encoder import Encoder, load_encoder, load_gqn
from gqn_transfer.files import write_json

SCRIPT = Path(__file__).parents[1] / "scripts/ship_encoder.py"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("ship_encoder", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SHIPPED", tmp_path)
    return module


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A run whose command names a folder."""
    copied = tmp_path / "run"
    copied.mkdir()
    for path in (trained_run / "encoder").iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    (copied / "reference.safetensors").touch()
    record = read_record(copied)
    command = {"command": "gqn-bench pretrain --scenes /elsewhere/many --out run"}
    write_json(copied / "checkpoint.json", record | {"provenance": command})
    return copied


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """What an evaluation of it wrote."""
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "probes.csv").write_text("probe,quantity,unit,median_error,r2\n")
    (folder / "evaluation.csv").write_text(
        "checkpoint,figure,part,contexts,value,unit\n"
        "run,prior_sample_psnr,image,3,27.96,dB\n"
        "run,probe_mlp_median_error,hand,1,0.0284,m\n"
        "run,probe_mlp_median_error,joint_6,1,0.58,rad\n"
        "run,floor,image,,1.0,\n"
        "run,view_distance_ratio,code,1,0.54,1\n"
        "run,task_mlp_median_error,joint_6 in Pose-v0,1,0.2,rad\n"
        "run,task_own_ridge_median_error,hand in Pose-v0,1,0.0123,m\n"
        "run,task_own_mlp_median_error,target in Reach-v0,1,0.0271,m\n"
        "run,task_own_mlp_median_error,joint_6 in Reach-v0,1,0.13,rad\n"
        "other,probe_mlp_median_error,hand,1,0.5,m\n"
        "chance,probe_guess_median_error,hand,1,0.316,m\n"
        "chance,view_distance_ratio,code,1,1,1\n"
    )
    return folder


def test_half_precision_gives_the_same_codes(
    script: ModuleType, run: Path, figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main(run, "mine", figures)
    shipped, original = load_encoder(tmp_path / "mine"), load_encoder(run)
    images, viewpoints = torch.rand(5, 3, 16, 16), torch.randn(5, 7)
    torch.testing.assert_close(
        shipped.standardise(shipped(images, viewpoints)),
        original.standardise(original(images, viewpoints)), atol=2e-2, rtol=0,
    )  # fmt: skip
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (tmp_path / "mine", run)]
    assert sizes[0] < 0.7 * sizes[1]
    assert load_gqn(tmp_path / "mine").config == load_gqn(run).config
    command = read_record(tmp_path / "mine")["provenance"]["command"]
    assert command == "gqn-bench pretrain --scenes many --out run"
    assert shipped.fingerprint in capsys.readouterr().out
    assert (tmp_path / "mine/probes.csv").exists()


def test_a_control_ships_without_its_generator(
    script: ModuleType, run: Path, figures: Path, tmp_path: Path
) -> None:
    script.main(run, "mine", figures, encoder_only=True)
    assert load_encoder(tmp_path / "mine").features_dim == 12
    with pytest.raises(
        CheckpointError, match="is an encoder without its generator: load it with load_encoder"
    ):
        load_gqn(tmp_path / "mine")


def test_an_untrained_encoder_ships_as_its_seed(
    script: ModuleType, run: Path, figures: Path, tmp_path: Path
) -> None:
    write_json(run / "checkpoint.json", read_record(run) | {"steps": 0})
    script.main(run, "mine", figures)
    assert set(tensor_names(tmp_path / "mine")) == {"feature_mean", "feature_std"}
    shipped, original = load_encoder(tmp_path / "mine"), load_encoder(run)
    assert torch.equal(shipped.feature_mean, original.feature_mean)
    untrained = Encoder.untrained(original.config)
    images, viewpoints = torch.rand(5, 3, 16, 16), torch.randn(5, 7)
    assert torch.equal(shipped(images, viewpoints), untrained(images, viewpoints))


def test_an_untrained_encoder_that_tasks_have_trained_keeps_its_weights(
    script: ModuleType, run: Path, figures: Path, tmp_path: Path
) -> None:
    write_json(run / "checkpoint.json", read_record(run) | {"steps": 0, "source_steps": 100})
    script.main(run, "mine", figures)
    assert any(name.startswith("model.") for name in tensor_names(tmp_path / "mine"))


def test_a_tier_does_not_ship_alone(script: ModuleType, run: Path, figures: Path) -> None:
    write_json(run / "checkpoint.json", read_record(run) | {"tier": {}})
    with pytest.raises(SystemExit, match="is a tier: what it stands on would have to ship"):
        script.main(run, "mine", figures)


def test_the_cards_tables(script: ModuleType, figures: Path) -> None:
    """Rows and columns of which nothing was measured are left out; a guess is of no checkpoint."""
    assert script.card_tables(script.read_figures(figures / "evaluation.csv", "run")) == dedent(
        """\
        | drawn of another view, from | 3 views |
        | --- | --- |
        | PSNR of the image | 28.0 dB |

        | read from one view, median error | without looking | MLP |
        | --- | --- | --- |
        | hand | 31.6 cm | 2.8 cm |
        | joint_6 |  | 0.58 rad |

        | read in tasks, median error | MLP of scenes | ridge of the task | MLP of the task |
        | --- | --- | --- | --- |
        | Reach-v0: target |  |  | 2.7 cm |
        | Pose-v0: hand |  | 1.2 cm |  |
        | Pose-v0: joint_6 | 0.20 rad |  |  |

        | two views | value |
        | --- | --- |
        | distance of codes, same scene over another | 0.54 |"""
    )


def test_of_a_checkpoint_that_was_not_measured_there_is_no_card(script: ModuleType, figures: Path) -> None:
    with pytest.raises(SystemExit, match=r"says nothing of mine, but of chance"):
        script.read_figures(figures / "evaluation.csv", "mine")
