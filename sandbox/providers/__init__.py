"""Resources by their id, whatever their type.

`kinds` declares the types of which the sandbox keeps JSON only (`model`), `plain` answers for them, `start` says which
there are in the beginning. `tags` is Azure's tags at any resource.
"""
