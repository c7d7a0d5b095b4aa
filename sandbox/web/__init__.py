"""Microsoft.Web: App Service apps and their slots, as far as deployments and rollbacks need them.

`resources` is what clients see, `config` and `lifecycle` what they may change, `swap` what a slot swap does,
`operations` how clients ask for one and wait for it, `deployments` a slot's history, `publishing` what the Azure CLI
asks besides, `front_end` what users get, `faults` and `swap_faults` what can be broken here.

Not here: function apps, certificates, plans, Kudu.
"""
