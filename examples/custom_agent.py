"""The encoder in an agent of your own: PPO in plain PyTorch, without Stable-Baselines3.

python examples/custom_agent.py [ENCODER]        a shipped name (jaco-small) or a checkpoint's folder
"""

import sys

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor, nn
from torch.distributions import Normal

import gqn_transfer.envs  # noqa: F401  registers gqn_transfer/Reach-v0
from gqn_transfer.agents.encoded_observation import EncodedObservation

ENVS, ROLLOUT, EPOCHS, BATCH = 8, 50, 10, 100
GAMMA, LAMBDA, CLIP = 0.95, 0.95, 0.2


def make_env(encoder: str) -> gymnasium.Env:
    """Reach as vectors: the encoder's code of the image, the viewpoint and the goal, in one row."""
    env = gymnasium.make("gqn_transfer/Reach-v0", obs="pixels", camera="fixed")
    return gymnasium.wrappers.FlattenObservation(EncodedObservation(env, encoder))


class ActorCritic(nn.Module):
    """A Gaussian policy and a value."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 256), nn.LayerNorm(256), nn.Tanh())
        self.mean = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, actions))
        self.value = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 1))
        self.log_std = nn.Parameter(torch.full((actions,), -1.5))

    def forward(self, observations: Tensor) -> tuple[Normal, Tensor]:
        features = self.body(observations)
        return Normal(self.mean(features), self.log_std.exp()), self.value(features).squeeze(-1)


def collect(
    envs: SyncVectorEnv, agent: ActorCritic, first: np.ndarray
) -> tuple[dict[str, Tensor], np.ndarray]:
    """One rollout: tensors of shape (ROLLOUT, ENVS, ...), and the observation after it."""
    steps, seen = [], first
    for _ in range(ROLLOUT):
        observation = torch.from_numpy(seen).float()
        with torch.no_grad():
            policy, value = agent(observation)
            action = policy.sample()
        seen, reward, _, truncated, info = envs.step(action.clamp(-1, 1).numpy())
        after = seen.copy()
        for index in np.flatnonzero(truncated):  # an episode that is cut off still had a future
            after[index] = info["final_obs"][index]
        with torch.no_grad():
            following = agent(torch.from_numpy(after).float())[1]
        steps.append(
            {
                "observation": observation, "action": action, "value": value, "following": following,
                "log_prob": policy.log_prob(action).sum(-1), "reward": torch.from_numpy(reward).float(),
                "ended": torch.from_numpy(truncated).float(),
            }
        )  # fmt: skip
    return {key: torch.stack([step[key] for step in steps]) for key in steps[0]}, seen


def advantages(rollout: dict[str, Tensor]) -> Tensor:
    """Generalised advantage estimates (ROLLOUT, ENVS)."""
    errors = rollout["reward"] + GAMMA * rollout["following"] - rollout["value"]
    found, running = torch.zeros_like(errors), torch.zeros(ENVS)
    for step in reversed(range(ROLLOUT)):
        running = errors[step] + GAMMA * LAMBDA * (1 - rollout["ended"][step]) * running
        found[step] = running
    return found


def update(agent: ActorCritic, optimiser: torch.optim.Optimizer, rollout: dict[str, Tensor]) -> None:
    """PPO's clipped objective, over minibatches."""
    gain = advantages(rollout)
    rows = {key: values.flatten(0, 1) for key, values in rollout.items()}
    gain, target = gain.flatten(), (gain + rollout["value"]).flatten()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(gain)).split(BATCH):
            policy, value = agent(rows["observation"][chosen])
            ratio = (policy.log_prob(rows["action"][chosen]).sum(-1) - rows["log_prob"][chosen]).exp()
            scaled = (gain[chosen] - gain[chosen].mean()) / (gain[chosen].std() + 1e-8)
            clipped = torch.min(ratio * scaled, ratio.clamp(1 - CLIP, 1 + CLIP) * scaled)
            loss = 0.5 * (value - target[chosen]).square().mean() - clipped.mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimiser.step()


def main(encoder: str = "jaco-small", steps: int = 20_000) -> ActorCritic:
    """Train on Reach; prints the mean reward of every rollout."""
    torch.manual_seed(0)
    envs = SyncVectorEnv([lambda: make_env(encoder)] * ENVS, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = ActorCritic(envs.single_observation_space.shape[0], envs.single_action_space.shape[0])
    optimiser = torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5)
    seen, _ = envs.reset(seed=0)
    for done in range(0, steps, ENVS * ROLLOUT):
        rollout, seen = collect(envs, agent, seen)
        update(agent, optimiser, rollout)
        print(f"{done + ENVS * ROLLOUT:7d} steps, mean reward {rollout['reward'].mean():.3f}")
    envs.close()
    return agent


if __name__ == "__main__":
    main(*sys.argv[1:2])
