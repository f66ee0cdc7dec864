"""Off-policy algorithms that, loaded without their replay buffer, fill it again before they learn on."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import SAC, TD3


class _Refilling:
    """Learning starts once the buffer holds `refill` transitions, however far the counter of steps is.

    SB3 compares the counter alone, which `learn` sets to 0 or leaves where it was.
    """

    refill = 0
    """Transitions to collect by random actions before the next update; 0 leaves that to `learning_starts`."""

    def _setup_learn(self, *arguments: Any, **keywords: Any) -> Any:
        result = super()._setup_learn(*arguments, **keywords)  # type: ignore[misc]
        if self.refill:
            self.learning_starts, self.refill = self.num_timesteps + self.refill, 0  # type: ignore[attr-defined]
        return result


class RefillingSAC(_Refilling, SAC):
    """SAC."""


class RefillingTD3(_Refilling, TD3):
    """TD3."""
