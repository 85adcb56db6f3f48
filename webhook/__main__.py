"""`python -m webhook`: hands over to the command line."""

import sys

from webhook.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
