"""Microsoft.KeyVault: vaults with secrets, and the references to them in app settings.

`data_plane` is *.vault.azure.net, `secrets` what can be done there, `access` who may, `answers` how it is said.
`vaults` is what Azure Resource Manager shows. `references` resolves what app settings point at, `reference_routes`
shows and refreshes it. `start` is how the platform's vaults stand in the beginning, `faults` what can be broken here.

Not here: keys, certificates, backups, managed HSMs, vaults that are made or deleted.
"""
