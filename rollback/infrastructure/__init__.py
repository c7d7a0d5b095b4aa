"""Infrastructure: an earlier release's ARM template, what Azure says it would change, and its deployment."""
