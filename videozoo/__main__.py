"""``python -m videozoo`` is the command ``videozoo``."""

import sys

from videozoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
