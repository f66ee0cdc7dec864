"""An encoder inside a policy, safe from what Stable-Baselines3 does to policies: frozen or trained."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from types import MappingProxyType
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from gqn_transfer.checkpoint import fingerprint
from gqn_transfer.encoder import Encoder, load_encoder

EncoderSource = Encoder | str | os.PathLike[str]
"""An encoder, or what `load_encoder` makes one of."""
BRIGHTEST, DARKEST = 1.001, 2 / 255
"""Of the brightest pixel of float images in [0, 1], with room for rounding: below lies what was divided by
255 twice."""

_SHARED: WeakValueDictionary[str, Encoder] = WeakValueDictionary()


class EncoderEyes(nn.Module):
    """An encoder as SB3 may hold it: always in eval mode, never re-initialised.

    SB3 switches whole policies to training mode, which would wake BatchNorm and Dropout, and its
    `ortho_init` overwrites the weights of every layer it finds.
    """

    def __init__(self, encoder: EncoderSource) -> None:
        super().__init__()
        self.encoder = self.prepared(encoder)
        if self.encoder.remembers:
            raise ValueError(
                "this tier reads several steps of an episode, and eyes inside a policy are shown one: wrap "
                "the environments in EncodedVecEnv or EncodedObservation, and the agent is given codes"
            )
        self._images_checked = False

    def prepared(self, encoder: EncoderSource) -> Encoder:
        """The encoder as these eyes may have it."""
        raise NotImplementedError

    @property
    def features_dim(self) -> int:
        """Length of the standardised code."""
        return self.encoder.features_dim

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        """Standardised code (B, features_dim) of images (B, 3 M, H, W) in [0, 1], viewpoints (B, 7 M)."""
        if not self._images_checked:
            check_range(images)
            self._images_checked = True
        return encode_views(self.encoder, images, viewpoints)

    def train(self, mode: bool = True) -> EncoderEyes:
        return self

    def apply(self, fn: object) -> EncoderEyes:
        return self


class FrozenEyes(EncoderEyes):
    """Eyes that never change. The encoder is shared, not copied; its weights are buffers, so that no
    optimiser and no target network's average sees them."""

    def prepared(self, encoder: EncoderSource) -> Encoder:
        return freeze(shared(encoder))

    @torch.no_grad()
    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        return super().forward(images, viewpoints)


class TrainedEyes(EncoderEyes):
    """Eyes that start from the encoder's weights and are trained by the agent's loss: a copy of their own."""

    def prepared(self, encoder: EncoderSource) -> Encoder:
        copied = copy.deepcopy(encoder) if isinstance(encoder, Encoder) else load_encoder(encoder)
        if not any(parameter.requires_grad for parameter in copied.parameters()):
            raise ValueError(
                "this encoder has no weights left to train: a frozen method or EncodedVecEnv has frozen it; "
                "load it again, or pass its name"
            )
        copied.is_trained = True
        for parameter in copied.parameters():
            parameter.of_encoder = True  # type: ignore[attr-defined]  # for EncoderAdam
        return copied


EYES: Mapping[str, type[EncoderEyes]] = MappingProxyType({"frozen": FrozenEyes, "finetune": TrainedEyes})
"""Mode of a `GQNExtractor` -> class."""


class BorrowedEyes(nn.Module):
    """The eyes of another network, which alone trains and keeps them."""

    def __init__(self, eyes: nn.Module) -> None:
        super().__init__()
        self._lender = (eyes,)  # in a tuple it is no submodule

    @torch.no_grad()
    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        return self._lender[0](images, viewpoints)


def check_range(images: Tensor) -> None:
    """ValueError for float images that were not divided by 255, or twice."""
    if images.dtype == torch.uint8:
        return
    brightest = float(images.max())
    if brightest > BRIGHTEST or 0 < brightest < DARKEST:
        raise ValueError(
            f"float images up to {brightest:g}: eyes take uint8, or floats in [0, 1]; leave "
            "normalize_images=True in policy_kwargs, and the images of the environment uint8"
        )


def encode_views(encoder: Encoder, images: Tensor, viewpoints: Tensor) -> Tensor:
    """Standardised code (B, features_dim) of M views, one after the other in the channels of images
    (B, 3 M, H, W) and in viewpoints (B, 7 M)."""
    views, device = images.shape[1] // 3, images.device
    images, viewpoints = (
        each.to(encoder.feature_mean.device) for each in (images, viewpoints)
    )  # it is shared
    if views > 1:
        images, viewpoints = images.unflatten(1, (views, 3)), viewpoints.unflatten(1, (views, 7))
    return encoder.standardise(encoder(images, viewpoints), views).to(device)


def mark_of(encoder: EncoderSource) -> str:
    """The fingerprint of its weights, also of one that was made in place and has been given no name."""
    found = shared(encoder)
    return found.fingerprint or fingerprint(found.state_dict())


def shared(encoder: EncoderSource) -> Encoder:
    """The encoder itself; one of a name or path is loaded once for all that use it at the same time."""
    if isinstance(encoder, Encoder):
        return encoder
    fresh = load_encoder(encoder)
    return _SHARED.setdefault(f"{encoder} {fresh.fingerprint}", fresh)


def freeze(encoder: Encoder) -> Encoder:
    """Turn the encoder's parameters into buffers of their own memory, in place: saved with it, invisible to
    optimisers, those made before among them."""
    if encoder.is_trained:
        raise ValueError(
            "this encoder is being trained inside a policy: features kept from it would be outdated; "
            'use GQNExtractor(mode="finetune") on the pixels themselves, or freeze a copy'
        )
    for module in encoder.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            del module._parameters[name]
            module.register_buffer(name, parameter.detach().clone())
    return encoder.eval()
