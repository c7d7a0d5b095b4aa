"""What tests' fork server imports: all that a flow and a command import, early or late."""

import gc
from importlib import import_module

for name in (
    "pytest",
    "dying",
    "support",
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
    "aiohttp.connector",
    "anyio._backends._asyncio",
    "azure.core.pipeline.transport._aiohttp",
    "azure.core.rest._aiohttp",
    "azure.core.rest._requests_basic",
    "azure.identity.aio",
    "azure.identity.aio._credentials.imds",
    "azure.keyvault.secrets.aio",
    "azure.mgmt.authorization.v2022_04_01.aio",
    "azure.mgmt.monitor.aio",
    "azure.mgmt.postgresqlflexibleservers.aio",
    "azure.mgmt.resource.resources.aio",
    "azure.mgmt.web.aio",
    "jinja2",
    "msal_extensions",
):
    import_module(name)
# What is there now stays: no child needs to look through it, which would copy its memory.
gc.freeze()
