from gust.http.check import Query


class GetXCom(Query):
    map_index: int = -1
    include_prior_dates: bool = False
    offset: int | None = None


class GetXComSlice(Query):
    start: int | None = None
    stop: int | None = None
    step: int | None = None
    include_prior_dates: bool = False


class HeadXCom(Query):
    map_index: int | None = None


class SetXCom(Query):
    map_index: int = -1
    dag_result: bool = False
    mapped_length: int | None = None


class DeleteXCom(Query):
    map_index: int = -1
