"""Who must agree before a plan is carried out, how that is proven, and what is kept of it.

`policy` decides what a plan needs, `tokens` who signed, `records` what is kept, `waiting` when it is enough, and
`handover` carries an approval from its command to the run. How a run shows that it waits belongs to `tasks/`.
"""
