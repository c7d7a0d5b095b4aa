"""Which Azure actions each procedure uses: what the custom role grants, and what a plan checks first.

`deployments/role.json` is made of exactly these. Source: learn.microsoft.com, "Azure permissions for Web and Mobile".
"""

READ_APP = (
    "Microsoft.Authorization/permissions/read",
    "Microsoft.Web/sites/read",
    "Microsoft.Web/sites/config/read",
    "Microsoft.Web/sites/slots/read",
    "Microsoft.Web/sites/slots/config/read",
)
READ_SETTINGS = (
    "Microsoft.Web/sites/config/list/action",
    "Microsoft.Web/sites/slots/config/list/action",
)
SWAP = (
    "Microsoft.Web/sites/slots/slotsswap/action",
    "Microsoft.Web/sites/slots/operationresults/read",
)
RECORD = (
    "Microsoft.Resources/tags/read",
    "Microsoft.Resources/tags/write",
)
MEASURE = ("Microsoft.Insights/metrics/read",)
PUT_IMAGE = ("Microsoft.Web/sites/config/write",)
PUT_IMAGE_ON_SLOT = ("Microsoft.Web/sites/slots/config/write",)
READ_LOGS = ("Microsoft.Web/sites/containerlogs/action",)
READ_SLOT_LOGS = ("Microsoft.Web/sites/slots/containerlogs/action",)

ACTIONS: dict[str, tuple[str, ...]] = {
    "roll-back-backend": (
        *READ_APP,
        *READ_SETTINGS,
        "Microsoft.Web/sites/slots/deployments/read",
        *SWAP,
        "Microsoft.Web/sites/config/write",
        *RECORD,
        *MEASURE,
    ),
    "redeploy-backend": (
        *READ_APP,
        *READ_SETTINGS,
        *SWAP,
        *RECORD,
        *MEASURE,
        *PUT_IMAGE,
        *PUT_IMAGE_ON_SLOT,
        *READ_LOGS,
        *READ_SLOT_LOGS,
    ),
    "deploy-backend": (
        *READ_APP,
        *READ_SETTINGS,
        *SWAP,
        *RECORD,
        *MEASURE,
        *PUT_IMAGE,
        *PUT_IMAGE_ON_SLOT,
        *READ_LOGS,
        *READ_SLOT_LOGS,
    ),
}
"""By procedure, in the order in which they are asked for."""
