"""Static Web Apps: what they serve, and a release's archive. They have no slots: going back is deploying anew."""
