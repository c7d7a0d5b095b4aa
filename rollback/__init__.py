"""What tasks stand on: settings, plans, runs, the lease, and one thin client per system.

Free of Prefect, so that the plain way works when the fancy way is down. SDK objects become our models here and SDK
errors become ours; nothing outside imports `azure.*` or `httpx`. What decides the order of a procedure belongs to
`flows/`.
"""
