"""Stable-Baselines3 agents with a choice of eyes: extractors, encoded vector env, methods."""

if __name__ != "gqn_transfer.agents":
    raise ImportError("import gqn_transfer.agents, not agents: see docs/decisions/0001-layout.md")
