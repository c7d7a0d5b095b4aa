"""Azure Static Web Apps: sites over Azure Resource Manager, deployments of their content, and what users get of it.

One production environment for each site, `default`, and static content only: no preview environments, no functions.
"""
