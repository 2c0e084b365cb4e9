"""`python -m kapps`: the `kapps` command where it is not on the path."""

from kapps import cli

if __name__ == "__main__":
    cli.main()
