"""The sample Fundrbolt API: what runs in a slot of the sandbox, in several releases, one of them bad.

It knows nothing of Azure and nothing of the rest of the sandbox: its world is its command line and its environment.
"""
