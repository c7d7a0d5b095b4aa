"""Microsoft.Insights: what was measured of the requests to sites and slots, and the Application Insights component.

`book` counts and keeps, `catalogue` says which metrics there are, `metrics` answers queries, `components` is the
component as a resource, `faults` what can be wrong with measurements.

Platform metrics count what the front ends answered, the platform's own error pages included. The component is fed by
the app itself, so it knows of nothing that no process answered, and of production only: the other slots send theirs
nowhere. A minute without requests is 0 for the platform and a gap for the component; so is the response time.

Not here: dimensions, logs, alerts, metric namespaces of an app's own.
"""
