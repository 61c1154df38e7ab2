from gust.errors import NotFound
from gust.execution_api.datamodels.dags import dag_response
from gust.execution_api.routing import Call, Routes
from gust.http.answer import Answer

routes = Routes("/dags")


@routes.get("/{dag_id}")
def get_dag(call: Call[None, None]) -> Answer:
    dag = call.services.store.get_dag(call.path["dag_id"])
    if dag is None:
        raise NotFound(f"The Dag with dag_id: `{call.path['dag_id']}` was not found")
    return Answer(body=dag_response(dag))
