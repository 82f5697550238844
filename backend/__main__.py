"""``python -m backend``: what SynthScope can do, without the page."""

import sys

from backend.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
