"""`python -m ferbench` is the same as `ferbench`."""

from ferbench.commands import main

if __name__ == "__main__":
    main()
