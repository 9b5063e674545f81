"""Two or three plans for what somebody wants, each with its arithmetic. Pure, and quick."""

from dataclasses import fields, replace
from typing import Final

from pgkeep.advise import judging
from pgkeep.advise.costs import cost_of
from pgkeep.advise.draft import Draft, Plan
from pgkeep.advise.proposals import dumps, managed, recovery
from pgkeep.advise.wishes import Hosting, Wishes

_EFFORT: Final = ("managed", "dumps", "recovery", "recovery-fast")  # the least first
_SAME: Final = 0.05  # of a cost: list prices and rates are no better than that


def advise(wishes: Wishes) -> list[Plan]:
    """Return plans, the recommended one first."""
    if wishes.hosting is Hosting.MANAGED:
        drafts = [managed(wishes), dumps(wishes)]
    else:
        drafts = [recovery(wishes, fast=False), recovery(wishes, fast=True), dumps(wishes)]
    plans = [_judged(wishes, draft) for draft in drafts]
    fitting = [plan for plan in plans if plan.fits]
    if fitting:
        # What costs about the same is chosen by what there is less of to run.
        least = min(plan.cost.month for plan in fitting)
        cheap = [plan for plan in fitting if plan.cost.month <= least * (1 + _SAME)]
        chosen = min(cheap, key=lambda plan: _EFFORT.index(plan.name))
        why = "the least that meets every wish" if len(fitting) > 1 else "it meets every wish"
    else:
        chosen = min(plans, key=lambda plan: (len(plan.unmet), plan.rpo, plan.cost.month))
        missed = ", ".join(answer.wish for answer in chosen.unmet)
        why = f"no plan meets every wish; this one misses only: {missed}"
    others = [plan for plan in plans if plan is not chosen]
    return [replace(chosen, recommended=True, why=why), *others]


def _judged(wishes: Wishes, draft: Draft) -> Plan:
    cost = cost_of(wishes, draft.storage, draft.places, draft.made)
    rules = judging.rules(wishes, draft)
    return Plan(
        **{field.name: getattr(draft, field.name) for field in fields(draft)},
        cost=cost,
        answers=judging.answers(wishes, draft, cost),
        rules=rules,
        checklist=judging.checklist(wishes, draft, rules),
        risks=judging.risks(wishes, draft),
    )
