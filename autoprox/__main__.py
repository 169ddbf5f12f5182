"""``python -m autoprox``: the same as the command ``autoprox``."""

from autoprox.cli import main

if __name__ == "__main__":
    main()
