"""Any resource of Azure by its id: its configuration archived, compared, and brought back by a PATCH.

Nothing here knows what a resource is for; what must not be kept, compared or written is in `secrets.py` and
`readonly.py`.
"""
