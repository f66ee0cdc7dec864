"""The command `gqn-bench`: its subcommands are thin functions whose signatures are the command line."""

from __future__ import annotations

import errno
import os
import sys

from gqn_transfer.limits import keep_freed_memory, usable_cores

from . import encoder_commands, suite_commands  # noqa: F401  they register their commands
from .commands import app

SUMMARY = """Does a scene representation, learned from rendering alone, let robot-arm agents learn from fewer
interactions than raw pixels? Start with `gqn-bench run quick`, then `gqn-bench report runs/quick`."""


def main() -> None:
    """Entry point: errors that a user can mend are one message, not a traceback."""
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # spinning threads stop each other on busy cores
    keep_freed_memory()
    try:
        app.cli(prog="gqn-bench", description=SUMMARY)
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")
    except (ValueError, OSError, RuntimeError, ArithmeticError) as error:
        sys.exit(f"gqn-bench: {error}{_cure(error)}")


def _cure(error: Exception) -> str:
    """What to do about a folder that cannot be written, where the system's message does not say."""
    if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ": make it writable, or name another folder where the command takes one"
    return ""


if __name__ == "__main__":  # for `torchrun -m`
    main()
