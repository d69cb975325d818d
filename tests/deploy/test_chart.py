"""The Helm chart, rendered by Helm's own library and held against Kubernetes' schemas."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from annotated_types import Le

from siren_grpc.config.settings import Settings
from tests.support.audio import ROOT
from tests.support.kubernetes_api import cluster_with

CHART = ROOT / "deploy" / "helm" / "siren"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
KUBERNETES = ("1.27", "1.31", "1.35")
"""The oldest the chart says it is for, and later ones."""
CUSTOM = {"ScaledObject", "PodMonitor", "ServiceMonitor"}
Object = dict[str, Any]

try:
    import helm_python
    import kubernetes_validate
except ImportError:
    if os.environ.get("CI_RUN"):
        raise
    pytest.skip("needs helm-python-sdk and kubernetes-validate", allow_module_level=True)


OPEN = {"auth": {"allowAnonymous": True}}
"""What the chart wants to be told, if nobody is to be asked for a token."""


def render(values: Object | None = None, *, name: str = "talk") -> list[Object]:
    """Return the objects of a release in the namespace speech, by default an open one."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render({**OPEN, **(values or {})}, name=name, namespace="speech")
    return objects_in(files)


def render_in_a_cluster(values: Object, spec: Object | None) -> list[Object]:
    """Return what `render` does, where the release's Deployment has a spec, or is not there."""
    with (
        cluster_with("speech", "talk-siren", spec) as kubeconfig,
        helm_python.Config(kubeconfig_content=kubeconfig, namespace="speech") as config,
        helm_python.Chart.load(CHART) as chart,
    ):
        files = config.render(chart, {**OPEN, **values}, name="talk", namespace="speech")
    return objects_in(files)


def objects_in(files: dict[str, str]) -> list[Object]:
    """Return the objects of what Helm rendered."""
    return [
        each
        for path, text in sorted(files.items())
        if not path.endswith("NOTES.txt")
        for each in yaml.safe_load_all(text)
        if each
    ]


def the(kind: str, objects: list[Object]) -> Object:
    """Return the only object of a kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pod_of(objects: list[Object]) -> Object:
    return the("Deployment", objects)["spec"]["template"]


def container_of(objects: list[Object]) -> Object:
    (container,) = pod_of(objects)["spec"]["containers"]
    return container


def env_of(objects: list[Object]) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container_of(objects)["env"]}


def values_of(example: Path) -> Object:
    return yaml.safe_load(example.read_text(encoding="utf-8"))


@pytest.fixture(params=["defaults", *(e.stem for e in EXAMPLES)])
def objects(request: pytest.FixtureRequest) -> list[Object]:
    example = CHART / "examples" / f"{request.param}.yaml"
    return render(None if request.param == "defaults" else values_of(example))


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(objects: list[Object], version: str) -> None:
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_the_validator_refuses_what_kubernetes_would() -> None:
    deployment = the("Deployment", render())
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["grpc"] = {"prot": 1}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


def test_lint_finds_nothing() -> None:
    for values in (OPEN, *(values_of(example) for example in EXAMPLES)):
        report = helm_python.chart.lint(CHART, values, strict=True)

        assert report["errors"] == []
        assert [m["error"] for m in report["messages"] if m["severity"] > 1] == []


def test_names_and_selectors_belong_together(objects: list[Object]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    template = pod_of(objects)
    labels = template["metadata"]["labels"].items()
    selectors = [the("Deployment", objects)["spec"]["selector"]["matchLabels"]]
    for each in objects:
        if each["kind"] == "Service":
            selectors.append(each["spec"]["selector"])
        if each["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            selectors.append(each["spec"]["selector"]["matchLabels"])
        if each["kind"] == "NetworkPolicy":
            selectors.append(each["spec"]["podSelector"]["matchLabels"])
    test_pod = the("Pod", objects)["metadata"]["labels"].items()
    for selector in selectors:
        assert selector.items() <= labels
        assert not selector.items() <= test_pod  # `helm test` is no server
    spec = template["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {m["name"] for m in container_of(objects)["volumeMounts"]} == volumes


def test_ports_named_are_there(objects: list[Object]) -> None:
    ports = {p["name"]: p["containerPort"] for p in container_of(objects)["ports"]}
    assert ports["grpc"] == Settings.model_fields["port"].default
    for each in objects:
        if each["kind"] == "Service":
            assert {p["targetPort"] for p in each["spec"]["ports"]} <= ports.keys()
        if each["kind"] == "NetworkPolicy":
            for rule in each["spec"]["ingress"]:
                assert {p["port"] for p in rule["ports"]} <= ports.keys()
        if each["kind"] == "PodMonitor":
            assert {e["port"] for e in each["spec"]["podMetricsEndpoints"]} <= ports.keys()


def test_a_server_may_do_nothing_but_serve(objects: list[Object]) -> None:
    for pod in (pod_of(objects)["spec"], the("Pod", objects)["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # Else a Service named siren puts SIREN_PORT=tcp://... into the server's environment.
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_kubernetes_waits_longer_than_the_server_drains(objects: list[Object]) -> None:
    env = env_of(objects)
    drains_s = float(env["SIREN_DRAIN_DELAY_S"]) + float(env["SIREN_SHUTDOWN_GRACE_S"])
    hook = container_of(objects).get("lifecycle", {}).get("preStop", {}).get("exec")
    before_s = float(hook["command"][1]) if hook else 0.0

    grace_s = pod_of(objects)["spec"]["terminationGracePeriodSeconds"]

    assert grace_s >= before_s + drains_s + 10


def test_probes_ask_for_what_they_decide() -> None:
    container = container_of(render())

    services = {k: container[k]["grpc"]["service"] for k in container if k.endswith("Probe")}

    assert services == {
        "startupProbe": "siren.v1.SpeechService",
        "readinessProbe": "siren.v1.SpeechService",
        "livenessProbe": "liveness",
    }


def test_with_tls_probes_ask_where_none_is_spoken() -> None:
    objects = render({"tls": {"enabled": True, "secretName": "siren-tls"}})
    container, env = container_of(objects), env_of(objects)

    ports = {container[k]["grpc"]["port"] for k in container if k.endswith("Probe")}

    assert ports == {int(env["SIREN_HEALTH_PORT"])}
    assert env["SIREN_TLS_CERT_FILE"] == "/etc/siren/tls/tls.crt"


def test_other_settings_are_other_pods() -> None:
    def checksum(values: Object) -> str:
        return pod_of(render(values))["metadata"]["annotations"]["checksum/settings"]

    before = checksum({"settings": {"max_sessions": 100}})

    assert checksum({"settings": {"max_sessions": 100}, "replicaCount": 5}) == before
    assert checksum({"settings": {"max_sessions": 101}}) != before


def test_settings_reach_the_server_as_they_were_given(tmp_path: Path) -> None:
    given = {
        "max_sessions": 1_000_000,
        "idle_timeout_s": 0.5,
        "itn_languages": ["en", "de"],
        "aliases": {"fast.one": 'odd "name"\\ <x>', "é": "siren-mini-en"},
        "chunk_frames": None,
        "precision": "bf16",
    }
    text = the("ConfigMap", render({"settings": given}))["data"]["siren.toml"]
    file = tmp_path / "siren.toml"
    file.write_text(text, encoding="utf-8")
    from siren_grpc.config.settings import load_settings

    settings = load_settings({}, file)

    assert settings.max_sessions == 1_000_000
    assert settings.idle_timeout_s == 0.5
    assert settings.itn_languages == ("en", "de")
    assert settings.aliases == given["aliases"]
    assert settings.precision == "bf16"
    assert settings.chunk_frames is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"shutdown_grace_s": 5}}, "drain.graceSeconds"),
        ({"settings": {"tokens_file": "x"}}, "auth"),
        ({"tls": {"enabled": True}}, "tls.secretName"),
        ({"autoscaling": {"kind": "keda"}, "metrics": {"enabled": False}}, "metrics.enabled"),
        ({"replicas": 3}, "replicas"),
        ({"drain": {"graceSeconds": "a minute"}}, "graceSeconds"),
        ({"autoscaling": {"targetLoad": 70}}, "targetLoad"),
        ({"autoscaling": {"kind": "hpa", "minReplicas": 5, "maxReplicas": 3}}, "minReplicas"),
        ({"drain": {"delaySeconds": 900}}, "delaySeconds"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: Object, said: str) -> None:
    def install() -> None:
        with helm_python.Chart.load(CHART) as chart:
            chart.validate_schema(values)
        render(values)

    with pytest.raises(helm_python.HelmError, match=said):
        install()


def test_tokens_are_in_a_secret_and_nowhere_else() -> None:
    objects = render({"auth": {"tokens": "phone sha256:abc"}})

    secret = the("Secret", objects)
    assert secret["stringData"] == {"tokens": "phone sha256:abc"}
    others = [each for each in objects if each is not secret]
    assert "sha256:abc" not in json.dumps(others)
    assert env_of(objects)["SIREN_TOKENS_FILE"] == "/etc/siren/tokens/tokens"
    assert "SIREN_ALLOW_ANONYMOUS" not in env_of(objects)


def test_without_tokens_only_who_says_so_is_open() -> None:
    assert env_of(render(OPEN))["SIREN_ALLOW_ANONYMOUS"] == "true"
    with pytest.raises(Exception, match="nobody would be asked who they are"):
        render({"auth": {}})
    jwts = {"jwt_jwks_file": "/keys/jwks.json", "jwt_issuer": "i", "jwt_audience": "a"}
    assert "SIREN_ALLOW_ANONYMOUS" not in env_of(render({"auth": {}, "settings": jwts}))


def test_keda_scales_by_the_servers_worth_of_streams() -> None:
    objects = render({"autoscaling": {"kind": "keda", "targetLoad": 0.8, "maxReplicas": 7}})

    spec = the("ScaledObject", objects)["spec"]
    assert spec["scaleTargetRef"]["name"] == the("Deployment", objects)["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 7)
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    # AverageValue: replicas = query / threshold. "Value" would multiply by those there are.
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["threshold"] == "0.8"
    pods = 'namespace="speech",pod=~"talk-siren-[a-z0-9]+-[a-z0-9]+"'
    assert trigger["metadata"]["query"] == (
        f"max(sum by (model) (siren_sessions_active{{{pods}}})"
        f" / avg by (model) (siren_sessions_capacity{{{pods}}}))"
    )
    # Else each upgrade sets the number back to what the chart says.
    assert "replicas" not in the("Deployment", objects)["spec"]
    # Else a Prometheus that lost the servers says 0, and KEDA takes them away.
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert spec["fallback"]["replicas"] == 2


@pytest.mark.parametrize("kind", ["keda", "hpa"])
def test_autoscaling_turned_on_keeps_the_servers_there_are(kind: str) -> None:
    """Helm drops a value that is not rendered any more, and the default of a Deployment is 1."""
    scaled = {"autoscaling": {"kind": kind}}

    def replicas(values: Object, spec: Object | None) -> int | None:
        return the("Deployment", render_in_a_cluster(values, spec))["spec"].get("replicas")

    assert replicas(scaled, {"replicas": 7}) == 7
    assert replicas(scaled, None) is None
    assert replicas({"replicaCount": 3}, {"replicas": 7}) == 3


@pytest.mark.parametrize(
    ("release", "values"),
    [
        ("talk", {}),
        ("r" * 53, {}),
        ("voice-assistant-production-eu-central-1-team-ab", {}),
        ("siren-" + "s" * 47, {}),
        ("talk", {"fullnameOverride": "f" * 63}),
        ("talk", {"nameOverride": "n" * 63}),
    ],
)
def test_names_are_short_enough_for_what_is_put_behind_them(release: str, values: Object) -> None:
    objects = render({"autoscaling": {"kind": "keda"}, **values}, name=release)

    query = the("ScaledObject", objects)["spec"]["triggers"][0]["metadata"]["query"]
    (pods,) = set(re.findall(r'pod=~"([^"]+)"', query))
    # Kubernetes cuts what it puts five characters behind to 58 (names.SimpleNameGenerator).
    replica_set = f"{the('Deployment', objects)['metadata']['name']}-7c9d5f6b8d"
    assert re.fullmatch(pods, f"{replica_set}-"[:58] + "x7k2p")
    for each in objects:
        assert len(each["metadata"]["name"]) <= 63
        assert all(len(label) <= 63 for label in each["metadata"]["labels"].values())
    tested = the("Pod", objects)["metadata"]["labels"]
    assert tested.items() & pod_of(objects)["metadata"]["labels"].items() == {
        ("app.kubernetes.io/instance", release)
    }
    (allowed,) = [
        peer["podSelector"]["matchLabels"]
        for rule in the("NetworkPolicy", objects)["spec"]["ingress"]
        for peer in rule["from"]
        if peer.get("podSelector", {}).get("matchLabels")
    ]
    assert allowed == tested


def test_a_strategy_has_what_its_type_takes() -> None:
    def strategy(values: Object) -> Object:
        return the("Deployment", render({"strategy": values}))["spec"]["strategy"]

    assert strategy({"type": "Recreate"}) == {"type": "Recreate"}
    assert strategy({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}) == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    }


def test_an_hpa_scales_by_load() -> None:
    spec = the("HorizontalPodAutoscaler", render({"autoscaling": {"kind": "hpa"}}))["spec"]

    (metric,) = spec["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "700m"}


def test_monitors_are_what_the_operator_takes() -> None:
    objects = render(
        {"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}}
    )

    pods, services = the("PodMonitor", objects), the("ServiceMonitor", objects)
    assert pods["apiVersion"] == services["apiVersion"] == "monitoring.coreos.com/v1"
    assert [e["port"] for e in pods["spec"]["podMetricsEndpoints"]] == ["metrics"]
    wanted = services["spec"]["selector"]["matchLabels"].items()
    selected = [
        each
        for each in objects
        if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()
    ]
    assert [each["spec"]["clusterIP"] for each in selected] == ["None"]  # each pod once


@pytest.mark.parametrize("release", ["talk", "asr"])
def test_jobs_of_monitors_are_those_the_alerts_ask_for(release: str) -> None:
    """`up{job=~".*siren.*"}`: an operator's own choice has the name of the release in it."""
    monitored = {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}
    objects = render({"metrics": monitored, "fullnameOverride": "asr"}, name=release)

    by_pod = the("PodMonitor", objects)["spec"]["jobLabel"]
    by_service = the("ServiceMonitor", objects)["spec"]["jobLabel"]
    services = [each for each in objects if each["kind"] == "Service"]
    assert pod_of(objects)["metadata"]["labels"][by_pod] == "siren"
    assert {each["metadata"]["labels"][by_service] for each in services} == {"siren"}


def test_a_pod_without_its_gpu_fails() -> None:
    objects = render({"gpu": {"enabled": True}})

    assert container_of(objects)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert env_of(objects)["SIREN_DEVICE"] == "cuda"
    assert "SIREN_DEVICE" not in env_of(render())


def test_the_readme_names_every_value() -> None:
    def names(value: Object, prefix: str = "") -> Iterator[str]:
        for key, inner in value.items():
            if isinstance(inner, dict) and inner and f"{prefix}{key}" not in WHOLE:
                yield from names(inner, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    readme = (CHART / "README.md").read_text(encoding="utf-8")
    described = {line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")}

    assert described == set(names(values_of(CHART / "values.yaml")))


WHOLE = {"resources", "podSecurityContext", "securityContext", "topologySpread", "strategy"}
"""Values described as a whole."""


def test_tokens_may_come_from_the_environment() -> None:
    secret = {"secretKeyRef": {"name": "tokens", "key": "tokens"}}
    tokens = {"name": "SIREN_TOKENS", "valueFrom": secret}
    env = env_of(render({"auth": {"allowAnonymous": False}, "env": [tokens]}))
    assert "SIREN_TOKENS" in env
    assert "SIREN_ALLOW_ANONYMOUS" not in env


def test_health_that_wants_a_token_has_a_port_of_its_own_for_probes() -> None:
    objects = render({"settings": {"open_health": False}})
    assert env_of(objects)["SIREN_HEALTH_PORT"] == "50052"
    container = container_of(objects)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == 50052
    asked = the("Pod", objects)["spec"]["containers"][0]["args"]
    assert any(argument.endswith(":50052") for argument in asked)
    assert "--tls" not in asked


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"tls": {"clientCaKey": "ca.crt"}}, "needs tls.enabled"),
        ({"settings": {"jwt_jwks_file": "/keys.json"}}, "jwt_issuer"),
        ({"auth": {}, "settings": {"jwt_jwks_file": None}}, "nobody would be asked"),
        ({"metrics": {"enabled": True, "port": 50051}}, "metrics.port is taken"),
        ({"settings": {"admin_port": 50052}}, "settings.admin_port is taken"),
        ({"settings": {"admin_port": 9464}}, "settings.admin_port is taken"),
    ],
)
def test_values_that_no_server_starts_with_are_refused(values: Object, says: str) -> None:
    with pytest.raises(Exception, match=says):
        render(values)


def test_a_port_is_free_when_nothing_is_measured() -> None:
    render({"settings": {"admin_port": 9464}, "metrics": {"enabled": False}})


def test_a_drain_takes_the_delay_the_server_takes() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    delay = schema["properties"]["drain"]["properties"]["delaySeconds"]
    (bound,) = [m.le for m in Settings.model_fields["drain_delay_s"].metadata if isinstance(m, Le)]

    assert delay["maximum"] == bound
