"""Tiers: an encoder on an encoder, saved and loaded as one, on as many as one likes."""

from pathlib import Path

import pytest
import torch

from gqn_transfer.agents.eyes import freeze
from gqn_transfer.checkpoint import CheckpointError, load_tensors, read_record, save_checkpoint
from gqn_transfer.encoder import Encoder, feature_statistics, load_encoder, load_gqn, tiered
from gqn_transfer.scenes import Scenes
from gqn_transfer.tier import Tier, TierConfig, save_tier

SIZES = TierConfig(size=6, width=16, depth=1)


def views(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 16, 16), generator=generator).byte()
    return images, torch.randn(count, 7, generator=generator)


@pytest.fixture
def tier_folder(trained_run: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path) -> Path:
    torch.manual_seed(0)
    base = load_encoder(trained_run)
    tier = Tier(base.features_dim, SIZES).eval()
    statistics = feature_statistics(tiered(base, tier).representation, scenes[0])
    save_tier(tmp_path / "tier2", trained_run / "encoder", tier, statistics, {"frames": 7, "steps": 5})
    return tmp_path / "tier2"


def test_it_is_the_tier_of_the_standardised_code(tier_folder: Path, trained_run: Path) -> None:
    encoder, base = load_encoder(tier_folder), load_encoder(trained_run)
    images, viewpoints = views()
    assert encoder.features_dim == 6
    assert encoder.image_size == base.image_size
    with torch.no_grad():
        expected = encoder.representation.tier(base.standardise(base(images, viewpoints)))  # type: ignore[operator]
        torch.testing.assert_close(encoder(images, viewpoints), expected)
        torch.testing.assert_close(
            encoder(images[None], viewpoints[None]), encoder(images, viewpoints).sum(0, keepdim=True)
        )
    assert expected.std() == pytest.approx(1, abs=0.1)
    assert not torch.equal(encoder.feature_std, torch.ones(6))


def test_it_computes_in_float32_where_images_are_seen_in_bfloat16(
    tier_folder: Path, trained_run: Path
) -> None:
    encoder, base, shown = load_encoder(tier_folder), load_encoder(trained_run), views(4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        codes, read = base.standardise(base(*shown)), encoder.standardise(encoder(*shown))
    with torch.no_grad():
        torch.testing.assert_close(read, encoder.recall(codes), rtol=1e-6, atol=1e-6)


def test_a_tier_stands_on_a_tier(tier_folder: Path, scenes: tuple[Scenes, Scenes], tmp_path: Path) -> None:
    second = load_encoder(tier_folder)
    third = Tier(6, TierConfig(size=4, depth=0))
    statistics = feature_statistics(tiered(second, third).representation, scenes[0])
    save_tier(tmp_path / "tier3", tier_folder, third, statistics, {"frames": 7})
    encoder = load_encoder(tmp_path / "tier3")
    with torch.no_grad():
        expected = third(second.standardise(second(*views())))
        torch.testing.assert_close(encoder(*views()), expected)
    assert encoder.fingerprint != second.fingerprint


def test_frozen_it_stays_bit_for_bit(tier_folder: Path) -> None:
    encoder = freeze(load_encoder(tier_folder))
    before = encoder(*views())
    assert list(encoder.parameters()) == []
    encoder.train()
    encoder.eval()
    assert torch.equal(encoder(*views()), before)


def test_what_does_not_fit_is_refused(tier_folder: Path, trained_run: Path) -> None:
    with pytest.raises(CheckpointError, match="is a tier, which draws nothing"):
        load_gqn(tier_folder)
    with pytest.raises(ValueError, match="unknown keys colour; known: size, width, depth"):
        TierConfig.from_dict({"colour": 1})
    with pytest.raises(ValueError, match="size=1: expected at least 2"):
        TierConfig(size=1)
    wrong = {f"tier.{name}": value for name, value in Tier(5, SIZES).state_dict().items()}
    save_checkpoint(tier_folder, wrong, read_record(tier_folder))
    with pytest.raises(CheckpointError, match="does not fit the encoder in its base"):
        load_encoder(tier_folder)


def test_another_encoder_below_it_is_noticed(tier_folder: Path) -> None:
    base = tier_folder / "base"
    save_checkpoint(base, {k: v + 1 for k, v in load_tensors(base).items()}, read_record(base))
    with pytest.raises(CheckpointError, match=r"was trained on the encoder .*: restore the pair"):
        load_encoder(tier_folder)


def test_it_starts_from_no_architecture_of_a_gqn(tier_folder: Path) -> None:
    encoder = load_encoder(tier_folder)
    assert isinstance(encoder, Encoder)
    assert encoder.config is None
