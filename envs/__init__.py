"""Robot-arm tasks on a Kinova Jaco: Gymnasium environments, cameras and scenes. No torch in here."""

if __name__ != "gqn_transfer.envs":
    raise ImportError("import gqn_transfer.envs, not envs: see docs/decisions/0001-layout.md")

import gymnasium

from .registry import ENV_IDS, TASKS

__all__ = ["ENV_IDS", "TASKS"]

for _name in TASKS:
    gymnasium.register(
        f"gqn_transfer/{_name}",
        entry_point="gqn_transfer.envs.arm:ArmEnv",
        vector_entry_point="gqn_transfer.envs.vector:ArmVectorEnv",
        kwargs={"task": _name},
    )
