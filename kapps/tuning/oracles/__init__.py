"""KerasTuner's oracles, made to survive: failures, resuming, spaces that shrink.

An oracle says which point comes next. These are KerasTuner's own with four faults mended:

* what each draws depends on (seed, number of the trial) alone, so that a search that was killed
  goes on with the points it would have had (KerasTuner takes any seed for 0, and its grid does not
  keep its place);
* Hyperband promotes whatever fails: a trial that failed, or that could never be, counts as the
  worst of its round (KerasTuner waits for it, and never promotes again);
* no streak of failures ends a search;
* a point is brought into its canonical form (`kapps.tuning.spaces`) before it becomes a trial, so
  that none comes twice under two names.

Whatever is asked, the first point is the default one: what the search finds, it has to be better at
than what needed no search.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
