"""Hostile input for whole machines and live listeners, without end: ``make fuzz``.

An *episode* builds a target from a seed (:mod:`tests.fuzz.targets`), draws inputs from
the target's own traffic (:mod:`tests.fuzz.mutation`), and hands them over one by one
while it is watched (:mod:`tests.fuzz.watch`). A *finding* is

* an exception that comes out of a machine, or that a listener did not expect,
* a log record above DEBUG for an input, as strangers would fill the disk by it,
* an input that costs more processor time than any may,
* more objects or bytes than what a target may remember of its inputs,
* a target that does not serve honest users any more.

It is saved with its seed and inputs, and ``python -m tests.fuzz --replay FILE`` shows
it again: machines run in virtual time, so that they do the same again.
"""
