"""The platform's infrastructure as v1.2.3 declares it: Bicep for people, and the template that is compiled from it."""
