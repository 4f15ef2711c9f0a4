"""`python -m phlora` is the command."""

import sys

from phlora._command import main

sys.exit(main())
