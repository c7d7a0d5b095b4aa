"""Other programs of this machine: run in a group of their own, their output without secrets, git worktrees."""
