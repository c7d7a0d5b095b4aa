"""Resources by their id, whatever their type.

`kinds` declares the types of which the sandbox keeps JSON only (`model`), `plain` answers for them. `views` is how a
deployment and its what-if read any resource, those included whose provider shows them in another way.
"""
