"""Names of the platform's production environment, as Azure addresses it."""

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
GROUP, APP = "fundrbolt-production-rg", "fundrbolt-production-api"
SITE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Web/sites/{APP}"
SLOT = f"{SITE}/slots/staging"
PRODUCTION_HOST = f"{APP}.azurewebsites.net"
STAGING_HOST = f"{APP}-staging.azurewebsites.net"
