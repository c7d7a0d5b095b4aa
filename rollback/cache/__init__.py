"""Redis: what is in an environment's cache, and how keys are taken out of it. Nothing here knows App Service."""
