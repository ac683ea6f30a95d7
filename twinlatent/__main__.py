"""`python -m twinlatent` is the command line."""

from twinlatent.cli import main

if __name__ == "__main__":
    main()
