"""Microsoft.Resources/deployments: templates that are deployed, checked, and compared with what is there.

`model` is what is kept of a deployment, `wish` what a request says, `scopes` where it is, `checks` what is refused
before anything is written, `running` what it does, `sending` how it writes one resource, `reading` what run-time
functions see, `what_if` and `comparing` what it would change, `shown` how it is told, `routes` where it is asked after,
`faults` what can be broken, `history` what was deployed before the sandbox began.

Not here: deployment stacks, template specs, templates behind a link, scopes above a subscription, rollback on error.
"""
