"""The adviser: plans for what somebody wants. Only arithmetic; nothing is asked of any server."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, with_config

from pgkeep.advise.plan import advise as make_plans
from pgkeep.advise.wishes import Wishes
from pgkeep.advise.writing import config_text, settings_text
from pgkeep.api.routes.asked import CLUSTER, needs

router = APIRouter(prefix="/api", tags=["advise"])


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, slots=True, kw_only=True)
class Wished(Wishes):
    """What somebody wants: times in seconds, sizes in bytes. What is left out is as usual."""


@router.post("/advise", **needs("advise"))
def advise(
    body: Wished,
    cluster: Annotated[
        str, Query(pattern=CLUSTER, description="Its name in the configs.")
    ] = "main",
) -> dict[str, Any]:
    """Return plans, the recommended one first, each with its pgkeep.toml and settings."""
    return {
        "plans": [
            {
                **plan.to_dict(),
                "config": config_text(plan, body, cluster=cluster),
                "settings": settings_text(plan, body),
            }
            for plan in make_plans(body)
        ]
    }
