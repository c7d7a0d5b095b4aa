"""`python -m sandbox`."""

from sandbox.commands import main

if __name__ == "__main__":
    main()
