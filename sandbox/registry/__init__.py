"""ghcr.io: where the platform's images are, and what App Service pulls from.

`images` says which there are, `service` answers the OCI distribution API, as far as reading goes: anybody may pull with
an anonymous token. There are no layers behind a manifest, and a manifest's digest is an agreed one, not a checksum.
"""
