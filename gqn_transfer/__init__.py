"""A Generative Query Network as the eyes of robot-arm agents.

Heavy imports happen on first use, so that `gqn_transfer.envs` never loads torch.
"""

__version__ = "0.1.0"
