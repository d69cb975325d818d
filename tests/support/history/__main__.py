"""Plays histories again: `python -m tests.support.history SEED... [--scenario drain] [--show]`."""

from __future__ import annotations

import argparse
import asyncio
import logging

from siren.v1 import speech_pb2 as pb

from tests.support.history.world import play_all

_parser = argparse.ArgumentParser(prog="python -m tests.support.history", description=__doc__)
_parser.add_argument("seeds", type=int, nargs="+")
_parser.add_argument("--scenario", default="", choices=["", "limit", "drain", "death"])
_parser.add_argument("--show", action="store_true", help="print requests and records")
_given = _parser.parse_args()
logging.disable(logging.CRITICAL)

for _seed, (_history, _violations) in asyncio.run(
    play_all(_given.seeds, scenario=_given.scenario)
).items():
    print(
        f"history {_seed}: ended {_history.end or 'by its client'}, {len(_violations)} violations"
    )
    if _given.show:
        print(pb.StreamingConfig.FromString(_history.script.config))
        for _i, _op in enumerate(_history.script.ops):
            _at = _history.script.samples_before(_i + 1)
            print(f"  {_i}: {_op.kind} {len(_op.data)} bytes to {_at}, seq {_op.seq} {_op.bad}")
        for _record in _history.records:
            print(f"  {_record}")
    for _violation in _violations:
        print(f"  {_violation.rule}: {_violation.what}")
