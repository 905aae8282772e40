"""`python -m np_rnn`: the console command where none is installed."""

import sys

from np_rnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
