"""Off-policy algorithms that count what they have stored, and refill a replay buffer that was not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stable_baselines3 import SAC, TD3
from stable_baselines3.common.buffers import DictReplayBuffer

if TYPE_CHECKING:
    from .replay_files import KeptReplay


class Refilling:
    """Learning starts once the buffer holds `refill` transitions, however far the counter of steps is.

    SB3 compares the counter alone, which `learn` sets to 0 or leaves where it was.
    """

    replay_buffer: DictReplayBuffer
    learning_starts: int
    num_timesteps: int
    refill = 0
    """Transitions to collect by random actions before the next update; 0 leaves that to `learning_starts`."""
    stored = 0
    """Rows, each a step of all environments, that have been put into the buffer; SB3 keeps no count."""
    kept_replay: KeptReplay | None = None
    """What of the buffer lies on disk."""

    def _setup_learn(self, *arguments: Any, **keywords: Any) -> Any:
        result = super()._setup_learn(*arguments, **keywords)  # type: ignore[misc]
        if self.refill:
            self.learning_starts, self.refill = self.num_timesteps + self.refill, 0
        return result

    def _store_transition(self, *arguments: Any, **keywords: Any) -> None:
        super()._store_transition(*arguments, **keywords)  # type: ignore[misc]
        self.stored += 1


class RefillingSAC(Refilling, SAC):  # type: ignore[misc]  # SB3 says that it may have no buffer yet
    """SAC."""


class RefillingTD3(Refilling, TD3):  # type: ignore[misc]
    """TD3."""
