"""Which file holds the rule of which op."""

from __future__ import annotations

from collections.abc import Mapping

from ksc.transforms.reverse import box, build, call, callback, for_, if_, index, reduce, update, while_, withacc
from ksc.transforms.reverse.sweep import Augment, Rule

AUGMENTS: Mapping[str, Augment] = {
    "if": if_.augment,
    "for": for_.augment,
    "while": while_.augment,
    "build": build.augment,
    "reduce": reduce.augment,
    "withacc": withacc.augment,
    "call": call.augment,
}
"""What the forward sweep makes of an equation; any other stays as it is."""

RULES: Mapping[str, Rule] = {
    "if": if_.reverse,
    "for": for_.reverse,
    "while": while_.reverse,
    "build": build.reverse,
    "reduce": reduce.reverse,
    "withacc": withacc.reverse,
    "acc_add": withacc.reverse_acc_add,
    "call": call.reverse,
    "callback": callback.reverse,
    "index": index.reverse,
    "update": update.reverse,
    "box": box.reverse_box,
    "unbox": box.reverse_unbox,
}
"""What the reverse sweep makes of an equation that is no scalar primitive."""
