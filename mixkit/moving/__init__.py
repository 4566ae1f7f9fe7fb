"""Workspaces and apps as one file each, taken from one directory of workspaces to another. See docs/moving.md."""
