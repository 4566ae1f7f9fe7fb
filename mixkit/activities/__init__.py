"""What was done in the workspaces, by whom and when, and what guests wrote meanwhile."""

from mixkit.activities.activities import Activities, Following, Position
from mixkit.activities.activity import OPERATOR, Activity, Kind, Output, Result, Wanted, named, now

__all__ = [
    "OPERATOR",
    "Activities",
    "Activity",
    "Following",
    "Kind",
    "Output",
    "Position",
    "Result",
    "Wanted",
    "named",
    "now",
]
