"""`/api/v2/pools`: pools, and the use of their slots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final, assert_never

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gust.http.answer import Answer, Json, Problem, bad_request
from gust.model.pool import DEFAULT_POOL, UNLIMITED, Pool
from gust.rest_api.http.request import Body, Request, UpdateMask, Whole, WithoutTeam
from gust.rest_api.http.routing import operation
from gust.rest_api.lists import bulk
from gust.rest_api.lists.bulk import BulkCreateNamed, BulkDeleteNamed, BulkUpdateNamed, Named
from gust.rest_api.lists.filters import Filters, ListQuery, query_of, search
from gust.rest_api.lists.listing import Ordering, filtered_page
from gust.services.context import Services
from gust.services.settings import pools
from gust.services.settings.pools import PoolUse
from gust.services.time_left import TimeLeft

CHANGEABLE_OF_DEFAULT: Final = {"slots", "include_deferred"}
Slots = Annotated[Whole, Field(ge=UNLIMITED)]


def pool_response(pool: Pool, use: PoolUse) -> Json:
    occupied = use.running + use.queued + (use.deferred if pool.include_deferred else 0)
    return {
        "name": pool.name,
        "slots": pool.slots,
        "description": pool.description,
        "include_deferred": pool.include_deferred,
        "occupied_slots": occupied,
        "running_slots": use.running,
        "queued_slots": use.queued,
        "scheduled_slots": use.scheduled,
        "open_slots": UNLIMITED if pool.slots == UNLIMITED else pool.slots - occupied,
        "deferred_slots": use.deferred,
        "team_name": None,
    }


# --- reading ----------------------------------------------------------------------------------------------------------


FILTERS: Final = Filters[tuple[int, Pool]](search("pool_name", lambda p: p[1].name))
PoolsQuery: Final = query_of(ListQuery, FILTERS)
ORDERING: Final = Ordering[tuple[int, Pool]](
    attributes={"id": lambda p: p[0], "pool": lambda p: p[1].name, "name": lambda p: p[1].name},
    key=lambda p: (p[0],),
)


@operation("get_pools")
def get_pools(services: Services, request: Request) -> Json:
    query = request.query(PoolsQuery)
    found = filtered_page(enumerate(pools.list_pools(services)), query, ORDERING, FILTERS)
    use = pools.use_of_pools(services) if found.rows else {}
    return found.answer("pools", lambda row: pool_response(row[1], use.get(row[1].name, PoolUse())))


@operation("get_pool")
def get_pool(services: Services, request: Request) -> Json:
    return _with_use(services, pools.get_pool(services, request.path["pool_name"]))


def _with_use(services: Services, pool: Pool) -> Json:
    return pool_response(pool, pools.use_of_pools(services).get(pool.name, PoolUse()))


# --- changing ---------------------------------------------------------------------------------------------------------


class PoolBody(WithoutTeam):
    model_config = ConfigDict(populate_by_name=True)

    pool: str = Field(alias="name", max_length=256)
    slots: Slots
    description: str | None = None
    include_deferred: bool = False


class PoolPatchBody(WithoutTeam):
    model_config = ConfigDict(populate_by_name=True)

    name: str | None = Field(default=None, alias="pool")
    slots: Slots | None = None
    description: str | None = None
    include_deferred: bool | None = None


@operation("post_pool")
def post_pool(services: Services, request: Request) -> Answer:
    made = _create(services, request.body(PoolBody))
    return Answer(201, _with_use(services, made))


@operation("patch_pool")
def patch_pool(services: Services, request: Request) -> Json:
    name = request.path["pool_name"]
    body, mask = request.body(PoolPatchBody), request.query(UpdateMask).update_mask
    if body.name and body.name != name:
        raise bad_request("Invalid body, pool name from request body doesn't match uri parameter")
    pool = pools.get_pool(services, name)
    return _with_use(services, _change(services, pool, body, named=body.name, mask=mask))


@operation("delete_pool")
def delete_pool(services: Services, request: Request) -> Answer:
    pools.delete_pool(services, request.path["pool_name"])
    return Answer(204)


def _create(services: Services, body: PoolBody) -> Pool:
    return pools.create_pool(
        services,
        body.pool,
        slots=body.slots,
        description=body.description,
        include_deferred=body.include_deferred,
    )


def _change(
    services: Services, pool: Pool, body: PoolBody | PoolPatchBody, *, named: str | None, mask: Sequence[str] | None
) -> Pool:
    """Changes the pool by Airflow's rules: the default pool only in fields that the mask names and that may change, any
    other pool with all required fields."""
    given = body.model_fields_set
    if pool.name == DEFAULT_POOL:
        if not mask or not CHANGEABLE_OF_DEFAULT.issuperset(name.strip() for name in mask):
            raise bad_request("Only slots and included_deferred can be modified on Default Pool")
    else:
        _check_complete(body, named=named)
    fields = given & {"slots", "description", "include_deferred"}
    if mask:
        fields &= set(mask)
    return pools.change_pool(services, pool.name, **{field: getattr(body, field) for field in fields})


class _WholePool(BaseModel):
    model_config = ConfigDict(defer_build=True)

    pool: str
    slots: Slots
    description: str | None = None
    include_deferred: bool


def _check_complete(body: PoolBody | PoolPatchBody, *, named: str | None) -> None:
    """Problem 422 if the patch is no complete pool, which Airflow requires; in pydantic's form, without a place."""
    given = body.model_fields_set
    whole: Json = {"pool": named} if given & {"name", "pool"} else {}
    whole |= {field: getattr(body, field) for field in ("slots", "description", "include_deferred") if field in given}
    try:
        _WholePool.model_validate(whole)
    except ValidationError as error:
        raise Problem(422, [dict(one) for one in error.errors()]) from error


# --- in bulk ----------------------------------------------------------------------------------------------------------


PoolAction = BulkCreateNamed[PoolBody] | BulkUpdateNamed[PoolBody] | BulkDeleteNamed


class BulkPools(Body):
    actions: list[Annotated[PoolAction, Field(discriminator="action")]]


@operation("bulk_pools")
def bulk_pools(services: Services, request: Request) -> Json:
    """The answer has the successes and errors of each kind of action."""

    def overwrite(body: PoolBody) -> None:
        fields = body.model_fields_set & {"slots", "description", "include_deferred"}
        pools.change_pool(services, body.pool, **{field: getattr(body, field) for field in fields})

    def update(body: PoolBody, mask: Sequence[str] | None) -> None:
        _change(services, _existing(services)[body.pool], body, named=body.pool, mask=mask)

    named: Named[PoolBody] = Named(
        "pools with these pool names",
        name=lambda body: body.pool,
        names=lambda: _existing(services).keys(),
        create=partial(_create, services),
        overwrite=overwrite,
        update=update,
        delete=partial(pools.delete_pool, services),
        time_left=TimeLeft.of(services.clock, since=request.now),
    )
    return named.answer(_complete(services, bulk.read(request, BulkPools).actions))


def _complete(services: Services, actions: list[PoolAction]) -> list[PoolAction]:
    """Checks all updates before any action runs: an incomplete pool refuses the whole request."""
    known = set(_existing(services)) - {DEFAULT_POOL}
    for action in actions:
        match action:
            case BulkCreateNamed():
                known |= {body.pool for body in action.entities}
            case BulkUpdateNamed():
                for body in action.entities:
                    if body.pool in known:
                        _check_complete(body, named=body.pool)
            case BulkDeleteNamed():
                pass
            case _:
                assert_never(action)
    return actions


def _existing(services: Services) -> dict[str, Pool]:
    return {pool.name: pool for pool in pools.list_pools(services)}
