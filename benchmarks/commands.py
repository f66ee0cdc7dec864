"""The subcommands of `gqn-bench`, in the order in which its modules register them."""

from __future__ import annotations

import tyro

app = tyro.extras.SubcommandApp()
