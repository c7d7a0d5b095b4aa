"""From which address an app's connections leave: the same for all of its slots and instances, as on App Service."""

from hashlib import sha256


def outbound_address(site_name: str) -> str:
    """A loopback address that differs from app to app; processes may bind it without sharing being a problem."""
    first, second, third = sha256(site_name.lower().encode()).digest()[:3]
    # Below 127.128 the sandbox's own servers have their addresses.
    return f"127.{128 + first % 127}.{second}.{1 + third % 254}"
