"""`python -m chaosplugin`."""

import sys

from chaosplugin.cli import main

sys.exit(main())
