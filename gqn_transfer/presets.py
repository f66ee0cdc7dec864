"""Pretraining as data: what to train, how long, on which schedule."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .choices import named, refuse_unknown
from .decoders import DECODERS
from .model import GQNConfig

RENDERING = "rendering"
"""The decoder that every GQN has; the others are in `decoders.DECODERS`."""
PARTS = ("encoder", "decoder")
"""What `PretrainConfig.train` may name, beside single decoders; "decoder" is all of them."""


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining run. Everything anneals over the run's own number of steps."""

    decoders: Mapping[str, float] = field(default_factory=lambda: {RENDERING: 1.0})
    """Decoder -> weight of its loss. `rendering` is the GQN's bound; `state`, supervised by the simulator's
    state, a reference; `segmentation` the kinds of the query's pixels. None at all, with steps=0: the random
    control. The autoencoder is `rendering` with warm_up=1 and prior_only=1."""
    train: tuple[str, ...] = PARTS
    """What gradients reach: "encoder", "decoder" (all of them) or names of single decoders."""
    start: str = ""
    """Fingerprint of the checkpoint whose weights the run starts from; "" for new ones."""
    model: GQNConfig = field(default_factory=GQNConfig)
    """Sizes of the networks."""
    steps: int = 4000
    """Gradient steps."""
    batch: int = 32
    """Scenes per step."""
    queries: int = 1
    """Query views per scene and step."""
    max_contexts: int = 3
    """Context views per scene: one number M ~ U{1..max_contexts} a batch, as in the paper."""
    learning_rate: tuple[float, float] = (7e-4, 7e-5)
    """Adam's, linear (the paper: 5e-4 to 5e-5)."""
    learning_rate_share: float = 1.0
    """Share of the run over which it falls; from there it stays (the paper: 0.8)."""
    sigma: tuple[float, float] = (0.25, 0.15)
    """Pixel standard deviation, from the first step on linear (the paper: 2.0 to 0.7)."""
    sigma_share: float = 0.5
    """Share of the run over which it falls; from there it stays (the paper: 0.1)."""
    warm_up: float = 0.15
    """Share of the run in which the query view is its own only context."""
    transition: float = 0.3
    """Share of the run, after the warm-up, over which contexts become disjoint from the query."""
    self_contexts: float = 0.0
    """Share of the steps after that in which the query view is its own only context again: 0 asks for other
    views alone, as in the paper, 1 is an autoencoder. Meant to ask the code for what no other view shows."""
    prior_only: float = 0.0
    """Share of the run, from its start, that trains the prior's mean prediction, without posterior and
    KL: what the image needs must then come through r."""
    label_weights: tuple[float, ...] = (1.0, 4.0, 16.0, 16.0)
    """Weights of background, arm, target and shadow pixels in the training likelihood, the reverse of how
    many there are, and of the fingers if a fifth is given, else as the arm; ones are the plain bound."""
    label_margin: int = 0
    """Pixels around things that weigh as much as the things: with 0, drawing a thing too large costs
    little."""
    label_fade: float = 0.0
    """Share of the run, at its end, over which the label weights fade to ones; 0 keeps them. Weights find
    small things, and draw them too large: the pixels around them count less."""
    kl_balance: float = 0.5
    """Share of the KL's gradient that goes to the prior; 0.5 is the plain bound. More of it teaches the
    prior, and through it r, what the posterior has seen, before the posterior gives it up."""
    adam_epsilon: float = 1e-6
    """Large enough that the noise in a silent encoder's gradients is not amplified."""
    average: float = 0.0
    """Decay of the weights' moving average, which is then what is saved; 0 saves the weights themselves."""
    clip_gradient: float = 1.0
    """Largest norm of a step's gradient; 0 lets it be (the paper)."""
    seed: int = 0
    """Of initial weights, batches and latents: the same seed gives the same run."""

    def __post_init__(self) -> None:
        refuse_unknown(self.decoders, (RENDERING, *DECODERS), "decoders")
        if unknown := sorted(set(self.train) - {*PARTS, *self.decoders}):
            raise ValueError(
                f"train={', '.join(self.train)}: {', '.join(unknown)} is none of {', '.join(PARTS)} or of "
                f"the run's decoders ({', '.join(self.decoders) or 'none'})"
            )
        if (self.steps == 0) == bool(self.decoders and self.train):
            raise ValueError(
                f"steps={self.steps}, decoders={dict(self.decoders)}, train={self.train}: without steps "
                "there must be nothing to train, and with them something"
            )
        for name, least in (("batch", 1), ("queries", 1), ("max_contexts", 1), ("label_margin", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least {least}")
        if len(self.label_weights) not in (4, 5):
            raise ValueError(
                f"label_weights={self.label_weights}: expected those of background, arm, target and shadow, "
                "and of the fingers if they differ from the arm's"
            )
        for name in ("learning_rate_share", "sigma_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name}={getattr(self, name)}: expected a share of the run, above 0, up to 1"
                )
        for name, of in (("label_fade", "run"), ("self_contexts", "steps")):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected a share of the {of}, from 0 to 1")
        if min(self.warm_up, self.transition) < 0 or self.warm_up + self.transition > 1:
            raise ValueError(f"warm_up={self.warm_up} and transition={self.transition} must fit in one run")

    @property
    def views_needed(self) -> int:
        """Views a scene must have: the queries and, beside them, the contexts."""
        return self.queries + self.max_contexts if {RENDERING, "segmentation"} & set(self.decoders) else 1

    @property
    def autoencodes(self) -> bool:
        """True if no view but the query itself is ever a context: its generator knows no other view."""
        return max(self.warm_up, self.self_contexts) >= 1 and RENDERING in self.decoders

    def trains(self, part: str) -> bool:
        """True if gradients reach "encoder" or the decoder of that name."""
        return part in self.train or (part != "encoder" and "decoder" in self.train)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PretrainConfig:
        """The inverse of `to_dict`; unknown keys are refused with the list of known ones."""
        refuse_unknown(values, (field.name for field in dataclasses.fields(cls)), "keys")
        values = dict(values)
        for name in ("train", "learning_rate", "sigma", "label_weights"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**(values | {"model": GQNConfig.from_dict(values.get("model", {}))}))


SMALL = GQNConfig(
    representation="conv-small", representation_size=32, layers=2, hidden_channels=16, canvas_channels=16,
    condition_channels=16, conditioning="points",
)  # fmt: skip
PAPER = GQNConfig(
    representation="tower", layers=12, shared_core=False, hidden_channels=128, canvas_channels=128,
    condition_channels=256, latent_map=16, core_kernel=5, conditioning="broadcast", picture="linear",
)  # fmt: skip
"""The sizes of Eslami et al. 2018."""
RAYS_AND_POINTS = GQNConfig(representation="conv-rays", conditioning="points", pixel_components=3)
CPU_30MIN = PretrainConfig(
    model=RAYS_AND_POINTS, steps=10_000, learning_rate=(1e-3, 7e-5), label_weights=(1.0, 8.0, 24.0, 24.0),
    label_fade=0.3, prior_only=0.9, warm_up=0.2,
)  # fmt: skip
CPU_2H = dataclasses.replace(CPU_30MIN, steps=24_000, batch=64, warm_up=0.05, transition=0.1)
CPU_2H_THINGS = dataclasses.replace(CPU_2H, label_weights=(1.0, 8.0, 24.0, 24.0, 24.0), warm_up=0.15)
SIZES = (32, 64, 128, 256, 512, 1024)
"""Of r, in the comparison of sizes."""
AUTOENCODING: dict[str, Any] = {"warm_up": 1.0, "transition": 0.0, "prior_only": 1.0}
"""Each view is its own only context for the whole run, without latents."""
GPU_SIZES = dataclasses.replace(
    RAYS_AND_POINTS, layers=6, hidden_channels=128, canvas_channels=128, condition_channels=128
)
GPU_15MIN = dataclasses.replace(
    CPU_30MIN, model=GPU_SIZES, steps=20_000, batch=256, label_weights=CPU_2H_THINGS.label_weights
)
REGRESSOR = PretrainConfig(
    decoders={"state": 1.0},
    model=RAYS_AND_POINTS,
    steps=9000,
    batch=16,
    learning_rate=(1e-3, 1e-5),
    adam_epsilon=1e-8,
)
PRESETS: Mapping[str, PretrainConfig] = MappingProxyType(
    {
        "tiny": PretrainConfig(model=SMALL, steps=20, batch=4),
        "cpu-30min": CPU_30MIN,
        "cpu-2h": CPU_2H,
        "cpu-2h-things": CPU_2H_THINGS,
        **{
            f"cpu-20min-r{size}": dataclasses.replace(
                CPU_30MIN,
                steps=5_000,
                model=dataclasses.replace(RAYS_AND_POINTS, representation_size=size),
            )
            for size in SIZES
        },
        "gpu-15min": GPU_15MIN,
        **{
            f"gpu-15min-r{size}": dataclasses.replace(
                GPU_15MIN, model=dataclasses.replace(GPU_SIZES, representation_size=size)
            )
            for size in SIZES
        },
        "autoencoder": dataclasses.replace(CPU_30MIN, **AUTOENCODING),
        "autoencoder-2h": dataclasses.replace(CPU_2H, **AUTOENCODING),
        "autoencoder-2h-things": dataclasses.replace(CPU_2H_THINGS, **AUTOENCODING),
        "paper": PretrainConfig(
            model=PAPER,
            steps=2_000_000,
            batch=36,
            max_contexts=5,
            learning_rate=(5e-4, 5e-5),
            learning_rate_share=0.8,
            sigma=(2.0, 0.7),
            sigma_share=0.1,
            warm_up=0.0,
            transition=0.0,
            label_weights=(1.0, 1.0, 1.0, 1.0),
            adam_epsilon=1e-8,
            clip_gradient=0.0,
        ),
        "random": PretrainConfig(decoders={}, model=RAYS_AND_POINTS, steps=0),
        "regressor-20min": REGRESSOR,
        "regressor-1h": dataclasses.replace(REGRESSOR, steps=36_000),
    }
)
"""Name -> run. Times are rough, for CPU cores with bf16; see docs/training.md for what was run."""


def preset_named(name: str) -> PretrainConfig:
    """The preset of that name, or of a TOML file; ValueError lists what exists."""
    if name.endswith(".toml"):
        return _read_preset(Path(name))
    return named(PRESETS, name, "preset", ", or a file that ends in .toml")


def adjusted(
    config: PretrainConfig, seed: int | None, decoders: Sequence[str] = (), train: Sequence[str] = ()
) -> PretrainConfig:
    """The run with, where named, another seed, other decoders and parts to train ("a,b" names two)."""
    changes: dict[str, Any] = {} if seed is None else {"seed": seed}
    if decoders:
        changes["decoders"] = dict.fromkeys(decoders, 1.0)
    if train:
        changes["train"] = tuple(part for item in train for part in item.split(","))
    return dataclasses.replace(config, **changes)


def _read_preset(path: Path) -> PretrainConfig:
    """Keys of `PretrainConfig`, with a table [model]; `preset` names the one that they change."""
    try:
        changes = tomllib.loads(path.read_text(encoding="utf-8"))
        base = preset_named(changes.pop("preset")).to_dict() if "preset" in changes else {}
        model = base.get("model", {}) | changes.get("model", {})
        return PretrainConfig.from_dict(base | changes | {"model": model})
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
