"""``python -m oceanop``."""

from oceanop.cli import main

main()
