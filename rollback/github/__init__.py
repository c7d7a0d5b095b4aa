"""GitHub: releases and their files, and the workflow runs that deploy. The token comes from Key Vault, for each run."""
