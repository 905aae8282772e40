"""Where the demo was before."""

import sys

from pipeline.console import REFUSED

if __name__ == "__main__":
    print("error: The demo is now: python -m demo", file=sys.stderr)
    sys.exit(REFUSED)
