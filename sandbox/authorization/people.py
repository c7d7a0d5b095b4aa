"""Everybody that can have a role: who is in the directory, and the identities that apps and slots have themselves."""

from sandbox.keyvault.references import identity_of
from sandbox.state import Principal, State


def everybody(state: State) -> list[Principal]:
    """All principals."""
    identities = [identity_of(site, slot) for site in state.sites for slot in site.slots.values()]
    return [*state.principals, *identities]
