"""The command line from a checkout: `python cli.py align clips/ -o faces/`."""

from ferbench.commands import main

if __name__ == "__main__":
    main()
