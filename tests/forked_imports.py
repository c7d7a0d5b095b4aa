"""What tests' fork server imports: all that a flow and a command import, early or late."""

import gc
from importlib import import_module

for name in (
    "pytest",
    "flows.deploy_backend",
    "flows.redeploy_backend",
    "flows.restore_database",
    "flows.roll_back_backend",
    "flows.undo_restore_database",
    "deployments.approve",
    "deployments.completion",
    "deployments.doctor",
    "deployments.plain_run",
    "deployments.prefect_runs",
    "deployments.run_command",
    "deployments.status",
    "deployments.versions",
    "azure.identity.aio",
    "azure.keyvault.secrets.aio",
    "azure.mgmt.authorization.v2022_04_01.aio",
    "azure.mgmt.monitor.aio",
    "azure.mgmt.postgresqlflexibleservers.aio",
    "azure.mgmt.resource.resources.aio",
    "azure.mgmt.web.aio",
):
    import_module(name)
# What is there now stays: no child needs to look through it, which would copy its memory.
gc.freeze()
