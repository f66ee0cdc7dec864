"""The Generative Query Network: configuration, model and the arithmetic of its bound."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from .choices import named, refuse_unknown
from .generator import Generator, GeneratorConfig, Rollout
from .latents import Noise
from .pixels import Pixels, likelihood_floor
from .rays import VIEWPOINT_SIZE
from .representation import REPRESENTATIONS


@dataclass(frozen=True)
class GQNConfig(GeneratorConfig):
    """Sizes of a GQN. The defaults suit two CPU cores; the paper's are named field by field."""

    representation: str = "conv"
    """Representation network: a key of `REPRESENTATIONS` (the paper: pyramid, tower or pool)."""
    representation_size: int = 256
    """Channels C of the scene code r (the paper: 256)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        named(REPRESENTATIONS, self.representation, "representation")
        if self.representation_size < 1:
            raise ValueError(f"representation_size must be at least 1, got {self.representation_size}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values by field name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GQNConfig":
        """Inverse of `to_dict`; fields left out take their defaults, unknown keys are refused."""
        refuse_unknown(values, (field.name for field in fields(cls)), "keys of GQNConfig")
        plain = {"scene_centre": tuple(values["scene_centre"])} if "scene_centre" in values else {}
        return cls(**(dict(values) | plain))


@dataclass(frozen=True)
class Elbo:
    """The parts of the bound for a batch of queries."""

    pixels: Pixels
    """Distribution of the image under one posterior sample of the latents."""
    kl: Tensor
    """KL(posterior || prior) of each layer, (L, B), nats."""


class GQN(nn.Module):
    """Generative Query Network (Eslami et al. 2018): encode views, predict a view.

    Initial weights depend on config and seed alone. Convolutions are stored channels last.
    """

    def __init__(self, config: GQNConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or GQNConfig()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            build = REPRESENTATIONS[config.representation]
            self.representation = build(config.image_size, config.representation_size, config.field_of_view)
            self.generator = Generator(config, self.representation.code_shape)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape of one scene code: (C,), or (C, h, w) for the tower."""
        return self.generator.code_shape

    def compile_parts(self) -> None:
        """Let `torch.compile` fuse encoder and generator: slow first steps, and other rounding."""
        self.representation.compile()
        self.generator.roll_out = torch.compile(self.generator.roll_out)  # type: ignore[method-assign]

    def encode_views(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """Code of each view: images (B, 3, H, W), viewpoints (B, 7) -> (B, C[, h, w]), float32.

        Images are uint8, or float32 in [0, 1]. Sum codes of one scene with `sum_views`.
        """
        self._check_images(images, viewpoints)
        return self.representation(to_float(images), viewpoints.float()).float()

    def encode(self, images: Tensor, viewpoints: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scene code r, the sum over views: (B, M, 3, H, W), (B, M, 7) -> (B, C[, h, w]).

        mask (B, M), bool: the views to use; all of them without one.
        """
        if images.dim() != 5 or viewpoints.dim() != 3:
            raise ValueError(
                "encode takes images (B, M, 3, H, W) and viewpoints (B, M, 7), got "
                f"{tuple(images.shape)} and {tuple(viewpoints.shape)}; for one code per view "
                "call encode_views."
            )
        if images.shape[:2] != viewpoints.shape[:2]:
            raise ValueError(
                f"images {tuple(images.shape)} and viewpoints {tuple(viewpoints.shape)} must "
                "agree in their first two axes, scenes and views."
            )
        codes = self.encode_views(images.flatten(0, 1), viewpoints.flatten(0, 1))
        return sum_views(codes.unflatten(0, images.shape[:2]), mask)

    def elbo_terms(
        self,
        r: Tensor,
        query_viewpoint: Tensor,
        query_image: Tensor,
        generator: torch.Generator,
    ) -> Elbo:
        """One-sample terms of the bound: r (B, C[, h, w]), (B, 7), (B, 3, H, W) -> Elbo."""
        rollout = self.rollout(r, query_viewpoint, query_image, generator)
        return Elbo(rollout.pixels, rollout.kl())

    def elbo(
        self,
        r: Tensor,
        query_viewpoint: Tensor,
        query_image: Tensor,
        sigma: float,
        generator: torch.Generator,
    ) -> Tensor:
        """Unbiased one-sample estimate of the bound on log p(query_image | r, v), (B,), nats."""
        terms = self.elbo_terms(r, query_viewpoint, query_image, generator)
        return elbo(terms.pixels.log_likelihood(to_float(query_image), sigma), terms.kl)

    def predict(
        self,
        r: Tensor,
        query_viewpoint: Tensor,
        generator: torch.Generator | None = None,
        *,
        sample: bool = True,
    ) -> Tensor:
        """Image mean seen from query_viewpoint (B, 7): (B, 3, H, W), float32, not clamped.

        Latents are sampled from the prior with `generator`; each takes its prior mean when there
        is none, or when `sample` is False.
        """
        return self.rollout(r, query_viewpoint, None, generator if sample else None).mean

    def rollout(
        self,
        r: Tensor,
        query_viewpoint: Tensor,
        query_image: Tensor | None = None,
        generator: torch.Generator | Noise | None = None,
    ) -> Rollout:
        """`Generator.forward` on checked inputs; the query image may be uint8."""
        if r.shape[1:] != self.code_shape or query_viewpoint.shape != (len(r), VIEWPOINT_SIZE):
            raise ValueError(
                f"r must be (B, {', '.join(map(str, self.code_shape))}) and query_viewpoint "
                f"(B, {VIEWPOINT_SIZE}), got {tuple(r.shape)} and {tuple(query_viewpoint.shape)}."
            )
        if query_image is not None:
            self._check_images(query_image, query_viewpoint)
            query_image = to_float(query_image)
        return self.generator(r, query_viewpoint, query_image, generator)

    def _check_images(self, images: Tensor, viewpoints: Tensor) -> None:
        size = self.config.image_size
        if images.shape[1:] != (3, size, size) or viewpoints.shape != (len(images), VIEWPOINT_SIZE):
            raise ValueError(
                f"Expected images (B, 3, {size}, {size}) and viewpoints (B, {VIEWPOINT_SIZE}), got "
                f"{tuple(images.shape)} and {tuple(viewpoints.shape)}. Put channels first "
                "(images.permute(0, 3, 1, 2)), or build the GQN with another image_size."
            )


def to_float(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]: uint8 is divided by 255, float32 is returned as it is."""
    if images.dtype == torch.uint8:
        return images.float() / 255
    if images.dtype == torch.float32:
        return images
    raise TypeError(f"Images must be uint8 (0 to 255) or float32 (0 to 1), got {images.dtype}; convert them.")


def sum_views(codes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Sum codes (B, M, C[, h, w]) over the views that mask (B, M), bool, admits: (B, C[, h, w])."""
    if mask is None:
        return codes.sum(1)
    if mask.shape != codes.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool and {tuple(codes.shape[:2])}, (scenes, views); got {mask.dtype} "
            f"and {tuple(mask.shape)}."
        )
    return torch.einsum("bm,bm...->b...", mask.to(codes.dtype), codes)


def elbo(log_likelihood: Tensor, kl: Tensor) -> Tensor:
    """Evidence lower bound: log likelihood (B,), KL per layer (L, B) -> (B,), nats."""
    return log_likelihood - kl.sum(0)


def nats_above_floor(bound: Tensor, sigma: float, dimensions: int) -> Tensor:
    """What of -ELBO is not constant: KL plus squared error over 2 sigma². Bound (B,), nats."""
    return -bound - likelihood_floor(sigma, dimensions)


def bits_per_dimension(bound: Tensor, dimensions: int) -> Tensor:
    """-ELBO, nats, as bits per 8-bit sub-pixel (the axis of the paper's figures)."""
    return (-bound / dimensions + math.log(256)) / math.log(2)
