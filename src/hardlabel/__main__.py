"""`python -m hardlabel` is the command line."""

from hardlabel.cli.app import main

if __name__ == "__main__":
    main()
