"""GitHub: one organisation with one private repository, its releases, workflow runs, issues and container package.

Held to docs.github.com (REST API 2022-11-28, and 2026-03-10 where that differs). What an answer holds is in the module
of its kind; `frame.py` is around every request, `service.py` knows the host names.
"""
