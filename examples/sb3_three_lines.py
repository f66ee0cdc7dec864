"""A pretrained encoder inside a Stable-Baselines3 agent, in three lines.

python examples/sb3_three_lines.py [ENCODER]        a shipped name (jaco-small) or a checkpoint's folder
"""

import sys

import gymnasium
from stable_baselines3 import PPO

import gqn_transfer.envs  # noqa: F401  registers gqn_transfer/Reach-v0
from gqn_transfer.agents.extractors import GQNExtractor


def main(encoder: str = "jaco-small", mode: str = "frozen", steps: int = 2048) -> PPO:
    """Train PPO on Reach for a moment, from the encoder's features."""
    env = gymnasium.make("gqn_transfer/Reach-v0", obs="pixels", camera="fixed")
    eyes = {
        "features_extractor_class": GQNExtractor,
        "features_extractor_kwargs": {"encoder": encoder, "mode": mode},
    }
    agent = PPO("MultiInputPolicy", env, policy_kwargs=eyes, n_steps=64, seed=0, verbose=1)
    return agent.learn(steps)


if __name__ == "__main__":
    main(*sys.argv[1:2])
