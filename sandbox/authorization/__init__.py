"""Microsoft.Authorization: roles, who has them, and what the caller may do; and the directory's names for all that.

`definitions` and `assignments` are what `az role …` works on, `permissions` what a client reads of itself, `graph` the
few requests to Microsoft Graph with which the Azure CLI turns object ids into names.

Not here: deny assignments, conditions, privileged identity management, management groups.
"""
