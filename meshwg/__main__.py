"""``python -m meshwg`` is ``meshwg``."""

from meshwg.cli import main

if __name__ == "__main__":
    main()
