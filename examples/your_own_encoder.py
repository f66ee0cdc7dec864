"""Any `torch.nn.Module` as an encoder, in every agent and every benchmark here.

python examples/your_own_encoder.py                                        a short training run
gqn-bench run quick --encoder examples/your_own_encoder.py:make_encoder    in place of the GQN's, in a suite

`Patches` stands for what you have: a DINO, an R3M, anything that turns images into vectors. What is asked of
it is `forward(images, viewpoints)`: float images (B, 3, H, W) in [0, 1] and viewpoints (B, 7), which it may
ignore, to codes (B, n).
"""

import numpy as np
import torch
from torch import Tensor, nn

from gqn_transfer.agents.build import make_agent
from gqn_transfer.agents.vector import as_sb3
from gqn_transfer.encoder import Encoder
from gqn_transfer.envs.scenes import sample_scenes
from gqn_transfer.envs.vector import ArmVectorEnv

CODE = 64
FRAMES = 200
"""Frames that the features are standardised over."""


class Patches(nn.Module):
    """A small vision transformer with random weights; load yours here."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, CODE, kernel_size=16, stride=16)
        layer = nn.TransformerEncoderLayer(CODE, nhead=4, dim_feedforward=128, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, num_layers=2)

    def forward(self, images: Tensor, viewpoints: Tensor) -> Tensor:
        return self.blocks(self.cut(images).flatten(2).mT).mean(1)


def make_encoder() -> Encoder:
    """What `--encoder FILE.py:make_encoder` calls."""
    torch.manual_seed(0)
    encoder = Encoder(Patches(), (CODE,), image_size=64)
    scenes = sample_scenes(FRAMES, 1, np.random.default_rng(0))
    images = torch.from_numpy(scenes.images[:, 0]).permute(0, 3, 1, 2)
    with torch.no_grad():
        encoder.fit_statistics(encoder(images, torch.from_numpy(scenes.viewpoints[:, 0])))
    return encoder


def main(steps: int = 4000) -> None:
    """Train PPO on Reach from the frozen features, for a moment."""
    arms = as_sb3(ArmVectorEnv("Reach-v0", 16))
    arms.seed(0)
    agent = make_agent("gqn-frozen", arms, encoder=make_encoder(), seed=0)
    agent.learn(steps)
    print(f"{agent.num_timesteps} steps from features {agent.observation_space['representation'].shape}")
    arms.close()


if __name__ == "__main__":
    main()
