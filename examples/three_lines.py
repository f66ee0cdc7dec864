"""A pretrained encoder inside a Stable-Baselines3 agent, in three lines.

python examples/three_lines.py ENCODER        a checkpoint's folder, as `gqn-bench pretrain` writes it
"""

import sys

import gymnasium
from stable_baselines3 import PPO

import gqn_transfer.envs  # noqa: F401  registers gqn_transfer/Reach-v0
from gqn_transfer.agents.extractors import GQNExtractor


def main(encoder: str, steps: int = 256) -> PPO:
    """Train PPO on Reach for a moment, from the frozen encoder's features."""
    env = gymnasium.make("gqn_transfer/Reach-v0", obs="pixels", camera="fixed")
    eyes = {"features_extractor_class": GQNExtractor, "features_extractor_kwargs": {"encoder": encoder}}
    agent = PPO("MultiInputPolicy", env, policy_kwargs=eyes, n_steps=64, seed=0)
    agent.learn(steps)
    return agent


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
