"""Runs the task board: `python -m examples.tasks`, or `make serve`."""

import argparse

from .app import application


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.tasks", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port", type=int, default=8000, help="default: %(default)s; 0 takes a free one"
    )
    options = parser.parse_args()
    application().run(host=options.host, port=options.port, workers=1)


if __name__ == "__main__":
    main()
