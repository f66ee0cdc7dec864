"""Robot-arm tasks on a Kinova Jaco: Gymnasium environments, cameras and scenes. No torch in here."""

if __name__ != "gqn_transfer.envs":
    raise ImportError("import gqn_transfer.envs, not envs: see docs/decisions/0001-layout.md")

import gymnasium

TASKS = {"Reach-v0": "gqn_transfer.envs.reach:Reach"}
"""Task name -> class. A published task is never edited: a change makes a new version."""
ENV_IDS = tuple(f"gqn_transfer/{name}" for name in TASKS)


for _name, _entry_point in TASKS.items():
    gymnasium.register(f"gqn_transfer/{_name}", entry_point=_entry_point)
