"""`python -m mixkit` is the command `mixkit`."""

import sys

from mixkit.cli import main

sys.exit(main())
