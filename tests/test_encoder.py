"""The encoder: one code for every way of calling it, whole checkpoints only, standardised features."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gqn_transfer import encoder as module
from gqn_transfer.checkpoint import CheckpointError, load_tensors, read_record, save_checkpoint
from gqn_transfer.encoder import (
    Encoder,
    available_encoders,
    encode_scenes,
    find_checkpoint,
    load_encoder,
    load_gqn,
)
from gqn_transfer.model import GQN, GQNConfig
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import build
from gqn_transfer.scenes import Scenes

Pair = tuple[Scenes, Scenes]


@pytest.fixture(scope="module")
def encoder(trained_run: Path) -> Encoder:
    return load_encoder(trained_run)


def views(*shape: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (*shape, 3, 16, 16), generator=source, dtype=torch.uint8)
    return images, torch.randn(*shape, 7, generator=source)


def test_loads_from_folder_run_folder_and_text(trained_run: Path, encoder: Encoder) -> None:
    inputs = views(2)
    expected = encoder(*inputs)
    for name in (trained_run / "encoder", trained_run, str(trained_run)):
        assert torch.equal(load_encoder(name)(*inputs), expected)


def test_shipped_names_are_found_and_listed(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path)
    assert available_encoders() == ()
    with pytest.raises(CheckpointError, match=r"'nothing' is neither a shipped encoder \(none yet\)"):
        load_encoder("nothing")
    for name in ("reach-b", "reach-a"):
        (tmp_path / name).symlink_to(trained_run / "encoder")
    assert available_encoders() == ("reach-a", "reach-b")
    assert find_checkpoint("reach-a") == tmp_path / "reach-a"
    message = r"'reach' is neither a shipped encoder \(reach-a, reach-b\) nor a folder .*train one with"
    with pytest.raises(CheckpointError, match=message):
        load_encoder("reach")


def test_training_state_is_no_encoder(tiny: PretrainConfig, tmp_path: Path) -> None:
    weights = {f"model.{name}": value for name, value in GQN(tiny.model).state_dict().items()}
    save_checkpoint(tmp_path, weights, {"config": tiny.to_dict()})
    with pytest.raises(CheckpointError, match=r"(?s)does not fit .*feature_mean"):
        load_encoder(tmp_path)


def test_an_untrained_encoder_may_be_kept_as_its_seed(tiny: PretrainConfig, tmp_path: Path) -> None:
    statistics = {"feature_mean": torch.full((12,), 0.5), "feature_std": torch.full((12,), 2.0)}
    for steps, seed in ((0, 0), (0, 1), (1, 0)):
        record = {"config": dataclasses.replace(tiny, seed=seed).to_dict(), "steps": steps}
        save_checkpoint(tmp_path / f"{steps}-{seed}", statistics, record)
    for seed in (0, 1):
        found, made = load_encoder(tmp_path / f"0-{seed}"), Encoder.untrained(tiny.model, seed)
        assert torch.equal(found(*views(2)), made(*views(2)))
        assert torch.equal(found.feature_mean, statistics["feature_mean"])
    assert not torch.equal(made(*views(2)), load_encoder(tmp_path / "0-0")(*views(2)))
    with pytest.raises(CheckpointError, match="does not fit the network its record describes"):
        load_encoder(tmp_path / "1-0")  # trained, but its weights are lost


def test_weights_of_other_sizes_are_refused(tiny: PretrainConfig, trained_run: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, representation_size=13))
    save_checkpoint(tmp_path, load_tensors(trained_run / "encoder"), {"config": config.to_dict()})
    for load in (load_encoder, load_gqn):
        with pytest.raises(CheckpointError, match="does not fit the network its record describes"):
            load(tmp_path)


def test_uint8_equals_float(encoder: Encoder) -> None:
    images, viewpoints = views(4)
    assert torch.equal(encoder(images, viewpoints), encoder(images.float() / 255, viewpoints))
    for kind in (torch.float64, torch.float16):
        same = encoder((images.double() / 255).to(kind), viewpoints)
        torch.testing.assert_close(same, encoder(images, viewpoints), rtol=0.05, atol=0.05)
    several = views(2, 3)
    assert torch.equal(encoder(*several), encoder(several[0].float() / 255, several[1]))


def test_several_views_are_the_sum_of_single_ones(encoder: Encoder) -> None:
    images, viewpoints = views(2, 3)
    singles = sum(encoder(images[:, view], viewpoints[:, view]) for view in range(3))
    torch.testing.assert_close(encoder(images, viewpoints), singles, rtol=1e-5, atol=1e-5)


def test_output(encoder: Encoder) -> None:
    images, viewpoints = views(3)
    code = encoder(images, viewpoints.double())
    assert (code.shape, code.dtype) == ((3, encoder.features_dim), torch.float32)
    assert encoder.features_dim == encoder.config.representation_size == 12
    assert not torch.equal(code, encoder(images, viewpoints + 0.5))
    assert not torch.equal(code, encoder(255 - images, viewpoints))


def test_tower_codes_are_flattened() -> None:
    encoder = Encoder.untrained(
        GQNConfig(image_size=16, latent_map=4, representation="tower", representation_size=3)
    )
    assert encoder.features_dim == 3 * 4 * 4
    assert encoder(*views(2)).shape == encoder(*views(2, 2)).shape == (2, 48)


@pytest.mark.parametrize(
    ("images", "viewpoints"),
    [
        ((2, 3, 16, 16), (2, 6)),
        ((2, 3, 16, 16), (3, 7)),
        ((2, 3, 16, 16), (2, 1, 7)),
        ((2, 3, 3, 16, 16), (2, 4, 7)),
        ((2, 3, 3, 16, 16), (6, 7)),
        ((2, 16, 16, 3), (2, 7)),
        ((2, 3, 32, 32), (2, 7)),
        ((3, 16, 16), (7,)),
    ],
)
def test_wrong_shapes(encoder: Encoder, images: tuple, viewpoints: tuple) -> None:
    message = r"this encoder takes \(B, 3, 16, 16\) and \(B, 7\).* image_size=16, channels first"
    with pytest.raises(ValueError, match=message):
        encoder(torch.zeros(images), torch.zeros(viewpoints))


def test_wrong_type(encoder: Encoder) -> None:
    images, viewpoints = views(1)
    with pytest.raises(TypeError, match=r"images of torch\.int64: expected uint8 \(0 to 255\) or float"):
        encoder(images.long(), viewpoints)


def test_is_in_eval_mode(encoder: Encoder) -> None:
    assert not any(part.training for part in encoder.modules())


def test_fingerprint_names_the_checkpoint(encoder: Encoder, trained_run: Path) -> None:
    assert encoder.fingerprint == read_record(trained_run / "encoder")["fingerprint"]
    assert len(encoder.fingerprint) == 16


def test_weights_come_through_bit_for_bit(encoder: Encoder, trained_run: Path, tiny: PretrainConfig) -> None:
    stored = load_tensors(trained_run / "encoder")
    for name, value in encoder.state_dict().items():
        key = name if name in stored else f"model.{name}"
        assert torch.equal(value, stored[key])
    fresh = Encoder.untrained(tiny.model).state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in encoder.state_dict().items())


def test_features_are_standardised_over_the_scenes(encoder: Encoder, scenes: Pair) -> None:
    batch = scenes[0].gather(np.arange(64))
    images = torch.from_numpy(batch.images[:, 0]).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = encoder.standardise(encoder(images, torch.from_numpy(batch.viewpoints[:, 0])))
    # the statistics may come from bf16
    torch.testing.assert_close(features.mean(0), torch.zeros(12), rtol=0, atol=0.1)
    torch.testing.assert_close(features.std(0), torch.ones(12), rtol=0, atol=0.1)


def test_encode_scenes_takes_one_view_in_order(encoder: Encoder, scenes: Pair) -> None:
    codes = encode_scenes(encoder.representation, scenes[0], 50, view=2, batch=7)
    batch = scenes[0].gather(np.arange(50))
    images = torch.from_numpy(batch.images[:, 2]).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = encoder(images, torch.from_numpy(batch.viewpoints[:, 2]))
    torch.testing.assert_close(codes, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


def test_loaded_gqn_predicts_as_the_trained_model(
    trained_run: Path, tiny: PretrainConfig, scenes: Pair
) -> None:
    module = build(tiny, scenes[0], torch.device("cpu"))
    untrained = {name: value.clone() for name, value in module.state_dict().items()}
    stored = load_tensors(trained_run / "encoder")
    module.load_state_dict({name: stored[name] for name in untrained})
    loaded = load_gqn(trained_run)
    assert not loaded.training
    images, viewpoints = views(2, 2)
    query = torch.randn(2, 7)

    def predict(model: GQN, seed: int | None = None) -> Tensor:
        noise = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return model.predict(model.encode(images, viewpoints), query, noise, sample=seed is not None)

    assert torch.equal(predict(loaded), predict(module.model))
    assert torch.equal(predict(loaded, 4), predict(module.model, 4))
    assert not torch.equal(predict(loaded), predict(GQN(tiny.model)))


def test_gqn_and_encoder_agree(trained_run: Path, encoder: Encoder) -> None:
    images, viewpoints = views(2, 3)
    with torch.no_grad():
        code = load_gqn(trained_run).encode(images, viewpoints)
    torch.testing.assert_close(encoder(images, viewpoints).detach(), code, rtol=1e-5, atol=1e-5)


def test_tensor_names_are_complete(trained_run: Path, encoder: Encoder) -> None:
    names: Callable[[str], set[str]] = lambda prefix: {  # noqa: E731
        name.removeprefix("model.")
        for name in load_tensors(trained_run / "encoder")
        if name.startswith(prefix)
    }
    assert set(encoder.state_dict()) == names("model.representation.") | names("feature_")


OWN = """
import torch
from gqn_transfer.encoder import Encoder

class Mean(torch.nn.Module):
    def forward(self, images, viewpoints):
        return torch.cat([images.mean((2, 3)), viewpoints], 1)

def colours():
    return Encoder(Mean(), (10,), image_size=16)

def nothing():
    return 7
"""


def test_an_encoder_of_ones_own_comes_from_a_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_eyes.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    images, viewpoints = views(2)
    by_file, by_module = (
        load_encoder(f"{place}:colours") for place in (tmp_path / "own_eyes.py", "own_eyes")
    )
    for own in (by_file, by_module):
        assert own.features_dim == 10
        assert own.config is None
        expected = torch.cat([images.float().mean((2, 3)) / 255, viewpoints], 1)
        torch.testing.assert_close(own(images, viewpoints), expected)
    assert by_file.fingerprint == by_module.fingerprint != ""
    with pytest.raises(CheckpointError, match=r"own_eyes:nothing returned int: expected a gqn_transfer"):
        load_encoder("own_eyes:nothing")
    with pytest.raises(
        CheckpointError, match=r"'own_eyes:absent' names no function that makes an encoder: .*absent"
    ):
        load_encoder("own_eyes:absent")
    with pytest.raises(CheckpointError, match=r"names no function that makes an encoder: .*no_such_module"):
        load_encoder("no_such_module:make")


def test_statistics_are_those_of_the_codes_they_were_fitted_on(encoder: Encoder) -> None:
    codes = encoder(*views(50))
    encoder.fit_statistics(codes)
    ours = encoder.standardise(codes)
    torch.testing.assert_close(ours.mean(0), torch.zeros(12), atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.std(0), torch.ones(12), atol=1e-3, rtol=0)
    torch.testing.assert_close(encoder.standardise(3 * codes, views=3), ours)
