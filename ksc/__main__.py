"""``python -m ksc``: the command line."""

from ksc.cli import main

raise SystemExit(main())
