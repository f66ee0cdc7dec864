"""Decoders: what each learns, what is trained and what is left alone, adding one to a checkpoint."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gqn_transfer.checkpoint import CheckpointError, load_tensors, read_record, save_checkpoint
from gqn_transfer.condition import CONDITIONS
from gqn_transfer.decoders import (
    Metrics,
    Question,
    RenderingDecoder,
    Report,
    Schedule,
    SegmentationDecoder,
    StateDecoder,
    by_label,
    intersections,
)
from gqn_transfer.latents import Noise
from gqn_transfer.loader import DrawnScenes
from gqn_transfer.model import GQN
from gqn_transfer.objectives import Objective, tensors
from gqn_transfer.presets import PretrainConfig
from gqn_transfer.pretrain import build, load_objective, pretrain
from gqn_transfer.scenes import Batch, Scenes
from gqn_transfer.training import Run

Pair = tuple[Scenes, Scenes]
CPU = torch.device("cpu")
PLAN = Schedule(sigma=0.2, self_context=0.0, prior_only=True)


def run(config: PretrainConfig, scenes: Pair, folder: Path, **how: Any) -> Path:
    return pretrain(config, *scenes, folder, device="cpu", precision="fp32", **how).encoder


def moved(before: Path, after: Path) -> set[str]:
    """Which parts of two checkpoints differ: encoder, generator, or heads by name."""
    names = {"model.representation": "encoder", "model.generator": "rendering"}
    old, new, found = load_tensors(before), load_tensors(after), set()
    for name in old.keys() & new.keys():
        if not torch.equal(old[name], new[name]):
            prefix = ".".join(name.split(".")[:2])
            found.add(names.get(prefix, prefix.removeprefix("heads.")))
    return found - {"feature_mean", "feature_std"}


class Brightness(torch.nn.Module):
    """A decoder of a user's own: the mean colour of the query view."""

    needs_query = True

    def __init__(self) -> None:
        super().__init__()
        self.read = torch.nn.Sequential(torch.nn.LayerNorm(12), torch.nn.Linear(12, 3))

    def loss(self, question: Question, schedule: Schedule, noise: Noise) -> tuple[torch.Tensor, Report]:
        loss = ((self.read(question.r) - question.images.float().mean((2, 3)) / 255) ** 2).mean()
        return loss, lambda: {"brightness": float(loss)}

    def errors(self, question: Question) -> Metrics:
        return {"brightness": float(self.loss(question, PLAN, Noise(torch.Generator()))[0])}


def test_the_state_is_learned(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(
        tiny, decoders={"state": 1.0}, steps=60, batch=16, learning_rate=(1e-3, 1e-3), adam_epsilon=1e-8
    )
    held_out = scenes[1].gather(np.arange(16))
    before = build(config, scenes[0], CPU).evaluate(held_out)["test_state"]
    after = load_objective(run(config, scenes, tmp_path)).evaluate(held_out)["test_state"]
    assert after < 0.85 * before


SELF = Schedule(sigma=0.2, self_context=1.0, prior_only=True)
MASKS = {"decoders": {"rendering": 1.0, "segmentation": 1.0}, "warm_up": 1.0, "transition": 0.0}
"""Kinds of pixels of a view that the code has seen: learned within a second."""


def overlap(objective: Objective, scenes: Scenes) -> float:
    """Of the target's pixels with what the decoder takes for it, in views that the code has seen."""
    with torch.no_grad():
        _, report = objective(scenes.gather(np.arange(16)), SELF, np.random.default_rng(0))
    return report()["overlap_target"]


def test_the_kinds_of_pixels_are_learned(tiny: PretrainConfig, scenes: Pair, tmp_path: Path) -> None:
    config = dataclasses.replace(
        tiny, **MASKS | {"decoders": {"segmentation": 1.0}}, steps=300, batch=16,
        learning_rate=(1e-3, 1e-3), adam_epsilon=1e-8,
    )  # fmt: skip
    after = load_objective(run(config, scenes, tmp_path))
    assert overlap(after, scenes[1]) > overlap(build(config, scenes[0], CPU), scenes[1]) + 0.1


def test_losses_are_weighted_and_summed(tiny: PretrainConfig, scene_arrays: Callable) -> None:
    batch, model = scene_arrays(4), GQN(tiny.model)
    decoders = {
        "rendering": RenderingDecoder(model),
        "state": StateDecoder((12,), 8),
        "segmentation": SegmentationDecoder(tiny.model, (12,)),
    }

    def loss(weights: dict[str, float]) -> float:
        chosen = {name: decoders[name] for name in weights}
        return float(Objective(model, chosen, weights)(batch, PLAN, np.random.default_rng(0))[0].detach())

    single = {name: loss({name: 1.0}) for name in ("rendering", "segmentation")}
    both = loss({"rendering": 2.0, "segmentation": 0.5})
    assert both == pytest.approx(2 * single["rendering"] + 0.5 * single["segmentation"], rel=1e-5)
    with_state = loss({"rendering": 1.0, "state": 3.0})
    assert with_state > single["rendering"]


def test_state_is_asked_of_the_right_scene_and_the_right_number_of_times(
    tiny: PretrainConfig, scene_arrays: Callable
) -> None:
    """With queries: a row each, in the order of their codes. Without: a row for every view."""
    asked: list[Question] = []

    class Spy(StateDecoder):
        def loss(self, question: Question, schedule: Schedule, noise: Noise) -> tuple[torch.Tensor, Report]:
            asked.append(question)
            return super().loss(question, schedule, noise)

    batch, model = scene_arrays(3, views=5), GQN(tiny.model)
    beside = {"rendering": RenderingDecoder(model), "state": Spy((12,), 8)}
    Objective(model, beside, max_contexts=2, queries=2)(batch, PLAN, np.random.default_rng(0))
    Objective(model, {"state": Spy((12,), 8)})(batch, PLAN, np.random.default_rng(0))
    for question, times in zip(asked, (2, 5), strict=True):
        np.testing.assert_array_equal(question.state.numpy(), np.repeat(batch.state, times, 0))
        assert len(question.r) == len(question.images) == len(question.labels) == 3 * times
    alone = asked[1]
    pixels = torch.from_numpy(batch.images).flatten(0, 1).permute(0, 3, 1, 2)
    own = model.encode_views(pixels, torch.from_numpy(batch.viewpoints).flatten(0, 1))
    torch.testing.assert_close(alone.r, own)


def test_fingers_weigh_as_the_arm_unless_told_apart() -> None:
    assert by_label((1.0, 8.0, 24.0, 16.0)).tolist() == [1, 8, 24, 16, 8]
    assert by_label((1.0, 8.0, 24.0, 16.0, 32.0)).tolist() == [1, 8, 24, 16, 32]


def test_overlap_is_intersection_over_union() -> None:
    labels = torch.tensor([[[1, 4, 2, 0]]])  # fingers are a part of the arm
    found = torch.tensor([[[4, 0, 2, 2]]])
    logits = torch.nn.functional.one_hot(found, 5).permute(0, 3, 1, 2).float()
    assert intersections(logits, labels) == {"overlap_arm": 0.5, "overlap_target": 0.5}


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (("encoder", "decoder"), {"encoder", "rendering", "state"}),
        (("encoder",), {"encoder"}),
        (("decoder",), {"rendering", "state"}),
        (("state",), {"state"}),
        (("encoder", "rendering"), {"encoder", "rendering"}),
    ],
    ids=lambda names: "+".join(sorted(names)),  # of a set too: the order of all processes
)
def test_gradients_reach_what_train_names_and_nothing_else(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, train: tuple[str, ...], expected: set[str]
) -> None:
    first = dataclasses.replace(tiny, decoders={"rendering": 1.0, "state": 1.0}, steps=2)
    start = run(first, scenes, tmp_path / "first")
    second = run(dataclasses.replace(first, train=train), scenes, tmp_path / "second", start_from=start)
    assert moved(start, second) == expected
    assert read_record(second)["config"]["start"] == read_record(start)["fingerprint"]


def test_a_decoder_is_added_to_a_checkpoint_and_trained_alone(
    tiny: PretrainConfig, scenes: Pair, trained_run: Path, tmp_path: Path
) -> None:
    """The encoder and the generator that were there stay, bit for bit; the new head learns."""
    config = dataclasses.replace(
        tiny, **MASKS, train=("segmentation",), steps=150, batch=16, learning_rate=(1e-2, 1e-3)
    )
    before = build(config, scenes[0], CPU, trained_run)
    after_folder = run(config, scenes, tmp_path, start_from=trained_run)
    after, held_out = load_objective(after_folder), scenes[1].gather(np.arange(16))
    assert moved(trained_run / "encoder", after_folder) == set()
    assert after.evaluate(held_out)["test_mse_1"] == before.evaluate(held_out)["test_mse_1"]
    losses = [
        each.decoders["segmentation"].loss(each._views_alone(each_batch), SELF, None)[0].item()  # type: ignore[arg-type]
        for each in (before, after)
        for each_batch in [tensors(held_out, CPU)]
    ]
    assert losses[1] < 0.9 * losses[0]


def test_a_decoder_of_a_users_own_is_trained_with_the_rest(tiny: PretrainConfig, scenes: Pair) -> None:
    objective = build(tiny, scenes[0], CPU)
    objective.add_decoder("brightness", Brightness(), weight=0.5)
    assert any(name.startswith("heads.brightness.") for name in objective.state_dict())
    optimiser, rng = torch.optim.Adam(objective.parameters(), 3e-3), np.random.default_rng(0)
    batch = scenes[0].gather(np.arange(16))
    before = objective.evaluate(batch)["test_brightness_1"]
    for _ in range(60):
        optimiser.zero_grad()
        objective(batch, PLAN, rng)[0].backward()
        optimiser.step()
    assert objective.evaluate(batch)["test_brightness_1"] < 0.7 * before
    with pytest.raises(ValueError, match="there is a decoder 'brightness' already: rendering, brightness"):
        objective.add_decoder("brightness", Brightness())


def test_frames_of_a_start_are_counted_once(
    tiny: PretrainConfig, scenes: Pair, make_scenes_folder: Callable, trained_run: Path, tmp_path: Path
) -> None:
    """Images of the same folder are the same images; those of another one come on top."""
    of_folder = len(scenes[0]) * scenes[0].meta["views"]
    again = run(tiny, scenes, tmp_path / "again", start_from=trained_run)
    assert read_record(again)["frames"] == of_folder == read_record(trained_run / "encoder")["frames"]
    other = make_scenes_folder(tmp_path / "other", (24,), {"recipe": {"seed": 77}})
    more = run(tiny, (other, scenes[1]), tmp_path / "more", start_from=trained_run)
    assert read_record(more)["frames"] == of_folder + len(other) * other.meta["views"]


def test_frames_that_were_drawn_for_a_run_are_its_own(
    tiny: PretrainConfig, scenes: Pair, trained_run: Path, tmp_path: Path
) -> None:
    """As many of the same recipe, and yet others."""
    fresh = run(tiny, scenes, tmp_path / "fresh", source=Fresh(scenes[0], tiny.batch, 0))
    again = run(tiny, scenes, tmp_path / "again", start_from=fresh, source=Fresh(scenes[0], tiny.batch, 1))
    assert read_record(again)["frames"] == 2 * read_record(fresh)["frames"]


class Fresh:
    """A source that is no folder."""

    def __init__(self, scenes: Scenes, batch: int, seed: int) -> None:
        source = DrawnScenes(scenes, batch, seed)
        self.batch, self.frames = source.batch, source.frames


def test_a_start_of_another_size_is_refused(
    tiny: PretrainConfig, scenes: Pair, trained_run: Path, tmp_path: Path
) -> None:
    wider = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, representation_size=16))
    with pytest.raises(CheckpointError, match=r"another model or other scenes: .* does not fit"):
        run(wider, scenes, tmp_path, start_from=trained_run)
    bare = tmp_path / "bare"
    tensors = {k: v for k, v in load_tensors(trained_run / "encoder").items() if ".generator." not in k}
    save_checkpoint(bare, tensors, read_record(trained_run / "encoder"))
    with pytest.raises(CheckpointError, match="bare is an encoder without its generator: start from a whole"):
        run(tiny, scenes, tmp_path / "run", start_from=bare)
    with pytest.raises(CheckpointError, match="neither a shipped encoder"):
        run(tiny, scenes, tmp_path, start_from=tmp_path / "nowhere")


def test_a_margin_weighs_up_the_pixels_around_a_thing() -> None:
    """An error beside the target counts as one in it, two pixels away it counts once."""
    model = GQN(PretrainConfig().model, seed=0)
    labels = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    labels[0, 0, 30:33, 30:33] = 2
    r, viewpoints = torch.zeros(1, *model.code_shape), torch.zeros(1, 7)
    drawn = (model.rollout(r, viewpoints).mean.detach().clamp(0, 1) * 255).round().byte()

    def cost(row: int, margin: int) -> float:
        images = drawn.clone()
        images[0, :, row, 31] += 128  # modulo 256: the same error everywhere
        question = Question(r, viewpoints, images, labels, torch.zeros(1, 1))
        decoder = RenderingDecoder(model, (1.0, 1.0, 9.0, 1.0), margin=margin)
        return float(decoder.loss(question, PLAN, None)[0].detach())  # type: ignore[arg-type]

    plain, wide = ([cost(row, margin) - cost(5, margin) for row in (31, 33, 35)] for margin in (0, 1))
    assert plain[0] > 1e-3
    assert abs(plain[1]) < 0.1 * plain[0]
    assert wide[1] == pytest.approx(wide[0], rel=0.3)
    assert abs(wide[2]) < 0.1 * wide[0]


def test_averaged_weights_are_what_is_saved(
    tiny: PretrainConfig, scenes: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moving average over the weights after each step, by its definition: the first starts it."""
    name, decay, after = "model.representation.enter.0.weight", 0.6, []
    update = Run._update

    def watched(self: Run, *arguments: Any) -> Report:
        report = update(self, *arguments)
        after.append(self.objective.state_dict()[name].clone())
        return report

    monkeypatch.setattr(Run, "_update", watched)
    encoder = load_tensors(run(dataclasses.replace(tiny, average=decay, steps=4), scenes, tmp_path))
    expected = after[0]
    for weights in after[1:]:
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(encoder[name], expected)
    assert not torch.equal(encoder[name], after[-1])


def test_the_segmentation_is_asked_as_the_rendering_is(tiny: PretrainConfig) -> None:
    for name, kind in CONDITIONS.items():
        sizes = dataclasses.replace(tiny.model, conditioning=name)
        assert type(SegmentationDecoder(sizes, (12,)).condition) is kind


def test_halves_of_a_batch_cost_what_the_whole_does(tiny: PretrainConfig, scene_arrays: Callable) -> None:
    """So that ranks take the step that one would, whatever their scenes show."""
    batch: Batch = scene_arrays(4)
    batch.labels[:2] = 2
    batch.labels[2:] = 0
    decoder = SegmentationDecoder(tiny.model, (12,), (1.0, 1.0, 50.0, 1.0))
    objective = Objective(GQN(tiny.model), {"segmentation": decoder}, max_contexts=1)

    def cost(rows: slice) -> float:
        part = tensors(Batch(*(values[rows] for values in batch)), CPU)
        with torch.no_grad():
            return float(objective.decoders["segmentation"].loss(objective._views_alone(part), SELF, None)[0])

    whole = cost(slice(None))
    assert whole == pytest.approx((cost(slice(2)) + cost(slice(2, 4))) / 2, rel=1e-5)


def test_what_a_scene_does_not_hold_is_not_asked_of_a_loaded_head_either(
    tiny: PretrainConfig, scenes: Pair, make_scenes_folder: Callable, tmp_path: Path
) -> None:
    columns = ["hand_x", "hand_y", "hand_z", "target_x", "target_y", "target_z", "sin", "cos"]
    named = make_scenes_folder(tmp_path / "named", (6,), meta={"state_columns": columns})
    config = dataclasses.replace(tiny, decoders={"state": 1.0}, steps=1)
    loaded = load_objective(run(config, (named, named), tmp_path / "run"))
    for objective in (build(config, named, CPU), loaded):
        assert objective.decoders["state"].witness.tolist() == [-1, -1, -1, 3, 3, 3, -1, -1]


def test_labels_weigh_the_segmentation(tiny: PretrainConfig, scene_arrays: Callable) -> None:
    batch: Batch = scene_arrays(4)
    losses = []
    for target in (1.0, 50.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            decoder = SegmentationDecoder(tiny.model, (12,), (1.0, 1.0, target, 1.0))
        model = GQN(tiny.model)
        objective = Objective(model, {"segmentation": decoder})
        losses.append(float(objective(batch, PLAN, np.random.default_rng(0))[0].detach()))
    assert losses[0] != losses[1]


def far_posterior(config: Any) -> GQN:
    """A GQN whose posterior is far from its prior."""
    model = GQN(config)
    with torch.no_grad():
        for name, weight in model.generator.named_parameters():
            if "posterior.bias" in name:
                weight += 1.0
    return model


def question_of(batch: Batch, size: int = 12) -> Question:
    """Codes at random, and the first view of each scene."""
    images, viewpoints, labels, state = (torch.from_numpy(field) for field in batch)
    r = torch.randn(len(images), size, generator=torch.Generator().manual_seed(0))
    return Question(r, viewpoints[:, 0], images[:, 0].permute(0, 3, 1, 2), labels[:, :1], state)


def test_rendering_is_trained_on_the_bound_with_its_divergence(
    tiny: PretrainConfig, scene_arrays: Callable[..., Batch]
) -> None:
    model, asked = far_posterior(tiny.model), question_of(scene_arrays(4))
    plan = dataclasses.replace(PLAN, prior_only=False)
    how = asked.r, asked.viewpoints, asked.images
    loss, _ = RenderingDecoder(model).loss(asked, plan, torch.Generator().manual_seed(1))
    bound = model.elbo(*how, plan.sigma, torch.Generator().manual_seed(1))
    divergence = model.elbo_terms(*how, torch.Generator().manual_seed(1)).kl.sum(0).mean()
    size = asked.images[0].numel()
    assert float(divergence.detach()) / size > 0.01, "else nothing is shown"
    assert float(loss.detach()) * size == pytest.approx(-float(bound.mean().detach()), rel=1e-5)


def test_the_balance_shares_the_divergences_gradient(
    tiny: PretrainConfig, scene_arrays: Callable[..., Batch]
) -> None:
    model, asked, gradients = far_posterior(tiny.model), question_of(scene_arrays(4)), {}
    for balance in (0.5, 0.9):
        decoder = RenderingDecoder(model, kl_balance=balance)
        plan = dataclasses.replace(PLAN, prior_only=False)
        loss, _ = decoder.loss(asked, plan, torch.Generator().manual_seed(1))
        prior = model.generator.cores[0].latent.weight
        gradients[balance] = torch.autograd.grad(loss, prior)[0]
    assert not torch.allclose(gradients[0.5], gradients[0.9], rtol=1e-2)


class Seen(torch.nn.Module):
    """A decoder that keeps what it was asked."""

    needs_query = True

    def loss(self, question: Question, schedule: Schedule, noise: Noise) -> tuple[torch.Tensor, Report]:
        self.question = question
        return question.r.sum(), lambda: {}


def test_labels_are_those_of_the_view_that_is_asked_about(
    tiny: PretrainConfig, scene_arrays: Callable[..., Batch]
) -> None:
    batch = scene_arrays(4)
    batch = batch._replace(labels=np.zeros_like(batch.labels) + np.arange(4, dtype=np.uint8)[:, None, None])
    spy = Seen()
    objective = Objective(GQN(tiny.model), {"spy": spy})
    asked_about = set()
    for seed in range(8):
        objective(batch, PLAN, np.random.default_rng(seed))
        for scene, (image, labels) in enumerate(zip(spy.question.images, spy.question.labels, strict=True)):
            (view,) = labels.unique().tolist()
            asked_about.add(view)
            np.testing.assert_array_equal(image.permute(1, 2, 0), batch.images[scene, view])
    assert len(asked_about) > 1
