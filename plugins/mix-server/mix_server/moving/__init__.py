"""Workspaces and packages that come from elsewhere and go there."""
