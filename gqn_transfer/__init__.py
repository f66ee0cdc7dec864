"""A Generative Query Network as the eyes of robot-arm agents.

It imports nothing by itself, so that `gqn_transfer.envs` never loads torch.
"""

__version__ = "0.1.0"
