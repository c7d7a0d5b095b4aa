"""Microsoft.Web: App Service apps and their slots, as far as deployments and rollbacks need them.

`resources` is what clients see, `config` and `lifecycle` what they may change, `swap` what a slot swap does and how long
it takes, `operations` how clients wait for it, `publishing` what the Azure CLI asks besides, `front_end` what users get,
`faults` what can be broken here. No function apps, certificates, plans or Kudu.
"""
