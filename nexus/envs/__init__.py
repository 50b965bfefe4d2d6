"""Worlds to act in: Gymnasium environments with exact states and goals of their own."""

from nexus.envs.protocol import Goal, GoalEnvironment, Simulates
from nexus.envs.table import SHIFTS, TableEnv, shifted

__all__ = ["SHIFTS", "Goal", "GoalEnvironment", "Simulates", "TableEnv", "shifted"]
