"""ARM templates, evaluated: from a template and its parameters to the resources that it declares.

Pure: nothing here knows requests, the sandbox's state or providers. What a template reads while it is deployed comes
from a `Reader`. Line and column are left out of Azure's error messages.
"""
