"""The REST API in the HTTP API's place: the same routes and throttles, and a private one lets nothing else in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from gust.rest_api.access.auth import AUTH_OPERATIONS, SIGNED_ROUTES

Resources = dict[str, dict[str, Any]]
Template = dict[str, Any]

ENDPOINT = "vpce-0123456789abcdef0"
ADA = "arn:aws:sts::123456789012:assumed-role/DataTeam/ada"


def of_type(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, each) for name, each in resources.items() if each["Type"].startswith(kind))


def path_of(resources: Resources, resource: Any) -> str:
    """Of a method's resource, by its parents."""
    if "Fn::GetAtt" in resource:  # the root
        return ""
    properties = resources[resource["Ref"]]["Properties"]
    return f"{path_of(resources, properties['ParentId'])}/{properties['PathPart']}"


def routes(resources: Resources) -> dict[str, str]:
    """`POST /auth/token` → how it is authorized."""
    return {
        f"{method['HttpMethod']} {path_of(resources, method['ResourceId']) or '/'}": method["AuthorizationType"]
        for _, each in of_type(resources, "AWS::ApiGateway::Method")
        for method in [each["Properties"]]
    }


def test_one_of_the_two_apis_exists(source: Template) -> None:
    assert source["Parameters"]["ApiEndpoint"]["Default"] == "Http"
    assert source["Conditions"]["HasHttpApi"] == {"Fn::Equals": [{"Ref": "ApiEndpoint"}, "Http"]}
    assert source["Conditions"]["HasRestApi"] == {"Fn::Not": [{"Condition": "HasHttpApi"}]}
    of_http = {"HttpApiMayInvoke", *(name for name, _ in of_type(source["Resources"], "AWS::ApiGatewayV2::"))}
    of_rest = {"RestApiMayInvoke", *(name for name, _ in of_type(source["Resources"], "AWS::ApiGateway::"))}
    for name in of_http:
        assert source["Resources"][name]["Condition"] in ("HasHttpApi", "HttpApiIsSigned"), name
    for name in of_rest:
        assert source["Resources"][name]["Condition"] in ("HasRestApi", "RestApiIsSigned"), name
    assert source["Resources"]["WebAcl"]["Condition"] == "HasWebAcl"


def test_nothing_but_the_api_is_open(resources: Resources) -> None:
    """What docs/security.md lists: everything else asks IAM."""
    kinds = {each["Type"] for each in resources.values()}
    assert "AWS::Lambda::Url" not in kinds
    assert not [
        kind for kind in kinds if kind.startswith(("AWS::ElasticLoadBalancing", "AWS::CloudFront", "AWS::AppSync"))
    ]
    invoked_by = {name: each["Properties"]["Principal"] for name, each in of_type(resources, "AWS::Lambda::Permission")}
    from_networks = {name for name, who in invoked_by.items() if who == "apigateway.amazonaws.com"}
    assert from_networks == {"HttpApiMayInvoke", "RestApiMayInvoke"}
    assert "*" not in invoked_by.values()
    for name, each in of_type(resources, "AWS::SQS::QueuePolicy"):
        for statement in each["Properties"]["PolicyDocument"]["Statement"]:
            assert list(statement.get("Fn::If", [None, statement])[1]["Principal"]) == ["Service"], name


def test_both_apis_have_the_same_routes(resources: Resources) -> None:
    of_rest = routes(resources)
    signed = {route for route, kind in of_rest.items() if kind == "AWS_IAM"}
    assert signed == SIGNED_ROUTES
    open_to_all = {route for route, kind in of_rest.items() if kind == "NONE"}
    assert {"ANY /", "ANY /{proxy+}", "GET /static/{proxy+}"} <= open_to_all
    # A path with a signed method, or below one, is open for all other methods.
    for route in signed - {"ANY /signed/{proxy+}"}:
        assert f"ANY {route.partition(' ')[2]}" in open_to_all
    for operation in AUTH_OPERATIONS.values():
        exact, below = f"ANY {operation.path}", "ANY /auth/{proxy+}"
        assert exact in open_to_all or (operation.path.count("/") == 3 and below in open_to_all), operation


def test_every_method_is_there_before_the_api_is_deployed(resources: Resources) -> None:
    deployment = resources["RestDeployment"]
    awaited = {*deployment["DependsOn"], *(each["Ref"] for each in deployment["Metadata"]["Needs"]["Fn::If"][1])}
    assert awaited == {name for name, _ in of_type(resources, "AWS::ApiGateway::Method")}


def test_both_apis_are_throttled_alike(resources: Resources) -> None:
    http = resources["HttpApiStage"]["Properties"]
    everywhere, static = resources["RestStage"]["Properties"]["MethodSettings"]
    limits = ("ThrottlingRateLimit", "ThrottlingBurstLimit")
    assert (
        [everywhere[name] for name in limits] == [http["DefaultRouteSettings"][name] for name in limits] == [200, 400]
    )
    of_static = http["RouteSettings"]["GET /static/{proxy+}"]
    assert of_static["ThrottlingRateLimit"] == {"Fn::If": ["UsualStaticFilesRate", 10, static["ThrottlingRateLimit"]]}
    assert [static[name] for name in limits] == [10, of_static["ThrottlingBurstLimit"]] == [10, 200]
    assert (everywhere["ResourcePath"], everywhere["HttpMethod"]) == ("/*", "*")
    assert static["ResourcePath"].replace("~1", "/") == "//static/{proxy+}"


@pytest.mark.parametrize(("rate", "burst"), [("ApiRate", 400), ("StaticFilesRate", 200)])
def test_no_rate_can_be_set_above_what_is_allowed_at_once(source: Template, rate: str, burst: int) -> None:
    assert source["Parameters"][rate]["MaxValue"] == burst


@pytest.mark.parametrize(
    ("endpoint", "signer", "decision"),
    [
        (ENDPOINT, None, "Allow"),
        ("vpce-00000000000000000", None, "Deny"),
        (None, None, "Deny"),  # the internet, if AWS let it come so far
        # IAM decides who signs: what a resource policy allows, IAM is no longer asked in the same account.
        (ENDPOINT, ADA, "ImplicitDeny"),
        ("vpce-00000000000000000", ADA, "Deny"),
    ],
)
def test_a_private_api_answers_its_endpoints_and_leaves_signatures_to_iam(
    resources: Resources, endpoint: str | None, signer: str | None, decision: str
) -> None:
    condition, policy, otherwise = resources["RestApi"]["Properties"]["Policy"]["Fn::If"]
    assert (condition, otherwise) == ("IsPrivate", {"Ref": "AWS::NoValue"})
    written = json.dumps(policy).replace('{"Ref": "ApiVpcEndpoints"}', json.dumps([ENDPOINT]))
    written = written.replace('"execute-api:/*"', '"arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5/*"')
    given = {"aws:sourcevpce": endpoint} if endpoint else {}
    context = EvalContext(
        principal_arn=signer,
        principal_type="AssumedRole" if signer else "Anonymous",
        principal_account="123456789012" if signer else "",
        action="execute-api:Invoke",
        resource_arn="arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5/airflow/GET/api/v2/dags",
        region="us-east-1",
        service_context=given,
    )
    found = evaluate(context, [parse_policy_document(written)]).decision
    assert found == decision


def test_it_is_told_where_it_is(source: Template) -> None:
    url = json.dumps(source["Outputs"]["ApiUrl"]["Value"])
    assert "https://${RestApi}-${Endpoint}.execute-api.${AWS::Region}.${AWS::URLSuffix}/airflow" in url
    assert source["Resources"]["RestStage"]["Properties"]["StageName"] == "airflow"
    assert "/stages/airflow" in json.dumps(source["Resources"]["WebAcl"])
    types = source["Resources"]["RestApi"]["Properties"]["EndpointConfiguration"]["Types"]
    assert types == [{"Fn::If": ["IsPrivate", "PRIVATE", "REGIONAL"]}]


def test_needless_or_missing_parameters_are_refused(source: Template) -> None:
    assert {"PrivateApiNeedsVpcEndpoints", "VpcEndpointsNeedPrivateApi", "WebAclNeedsRestApi"} <= source["Rules"].keys()
