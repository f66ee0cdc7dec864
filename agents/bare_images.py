"""PPO's and A2C's policy, without Stable-Baselines3's conversion of images.

SB3 makes every uint8 image a float32 one, and divides it by 255, before its extractor sees it: two passes
over four times the bytes, a third of the time of raw pixels. Eyes here take uint8 and scale it in the
precision that they compute in, with the same result.
"""

from __future__ import annotations

from stable_baselines3.common.policies import BasePolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor


class BareImages(BasePolicy):
    """Stands behind `ActorCriticPolicy` in the order of classes, which calls it from several places."""

    def extract_features(self, obs: dict[str, Tensor], features_extractor: BaseFeaturesExtractor) -> Tensor:  # type: ignore[override]
        spaces = self.observation_space
        return features_extractor(
            {
                key: values if key == "image" else preprocess_obs(values, spaces[key])  # type: ignore[index]
                for key, values in obs.items()
            }
        )


class BareImagesPolicy(MultiInputActorCriticPolicy, BareImages):  # type: ignore[misc]
    """Hands images to its extractor as they are in the observation."""
