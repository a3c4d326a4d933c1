"""``python -m medlabel``: the command line without an installed script."""

from medlabel.cli import main

main()
