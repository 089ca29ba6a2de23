"""Runs the command from a checkout: python cli.py song.mp3 --stem vocals"""

from separate.cli import main

if __name__ == "__main__":
    main()
