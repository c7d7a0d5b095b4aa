"""The frontends' sources, as a developer has them; `build.py` is part of them and knows nothing of the sandbox."""
