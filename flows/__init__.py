"""The runbook: one procedure per file, read top to bottom.

No SDK, SQL, HTTP, environment or sleeping here: that is what `tasks/` and `rollback/` are for.
"""
