"""`python -m chaoskit.sandbox ORDER`: the launcher's process. Started by `chaoskit.sandbox.cluster` only."""

from __future__ import annotations

import gc
import logging
import os
import sys

from chaoskit.sandbox.settings import MARK


def _main() -> int:
    if len(sys.argv) != 2 or MARK not in os.environ:
        sys.stderr.write("this module is started by `chaoskit sandbox up`; do not run it by hand\n")
        return 2
    logging.basicConfig(level=os.environ.get("CHAOSKIT_SANDBOX_LOG", "INFO"), format=_FORMAT, stream=sys.stderr)
    from chaoskit.sandbox.launcher import Order, main

    order = Order.from_json(sys.argv[1])
    if order.lifeline is None and os.fork():
        os._exit(0)  # a detached cluster belongs to nobody
    gc.freeze()  # what is loaded now is shared by all children and never garbage
    return main(order)


_FORMAT = "%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"

if __name__ == "__main__":
    sys.exit(_main())
