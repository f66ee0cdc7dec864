"""The table of tasks: name -> where its class is, and the Gymnasium ids made of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from .errors import check_choice
from .task import Task

TASKS: Mapping[str, str] = MappingProxyType(
    {
        "Reach-v0": "reach:Reach",
        "Pose-v0": "pose:Pose",
        "Point-v0": "point:Point",
        "Track-v0": "track:Track",
        "Press-v0": "press:Press",
        "Grasp-v0": "grasp:Grasp",
        "Push-v0": "push:Push",
        "Place-v0": "place:Place",
    }
)
"""Task name -> module:class. A published task is never edited: a change makes a new version."""
ENV_IDS = tuple(f"gqn_transfer/{name}" for name in TASKS)


def find_task(task: str | Task) -> Task:
    """The task of that name, or `task` itself; ValueError lists what exists."""
    if isinstance(task, Task):
        return task
    check_choice("task", task, tuple(TASKS))
    module, name = TASKS[task].split(":")
    return cast(Task, getattr(importlib.import_module(f".{module}", __package__), name)())
