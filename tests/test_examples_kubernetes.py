"""The Kubernetes examples parse, have only fields that are published, and say commands that this ferbench has."""

import shlex

import pytest
import yaml
from click import Context
from conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples" / "kubernetes"

FIELDS = {
    # ray.io/v1, ray-operator/config/crd/bases of KubeRay 1.2 (2024) to 1.7 (2026): those that all of them have
    "RayCluster": {
        "autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "headServiceAnnotations", "rayVersion", "suspend",
        "workerGroupSpecs",
    },
    "RayJob": {
        "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "entrypoint", "entrypointNumCpus", "entrypointNumGpus",
        "entrypointResources", "jobId", "metadata", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes",
        "submissionMode", "submitterConfig", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished",
    },
    "head": {"enableIngress", "headService", "rayStartParams", "serviceType", "template"},
    "workers": {
        "groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas",
        "scaleStrategy", "template",
    },
    # batch/v1 and v1, https://kubernetes.io/docs/reference/generated/kubernetes-api/
    "Job": {
        "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex", "completionMode", "completions", "manualSelector",
        "maxFailedIndexes", "parallelism", "podFailurePolicy", "podReplacementPolicy", "selector", "successPolicy",
        "suspend", "template", "ttlSecondsAfterFinished",
    },
    "pod": {
        "affinity", "containers", "initContainers", "nodeSelector", "restartPolicy", "securityContext",
        "serviceAccountName", "terminationGracePeriodSeconds", "tolerations", "volumes",
    },
    "container": {
        "args", "command", "env", "envFrom", "image", "imagePullPolicy", "name", "ports", "resources", "securityContext",
        "volumeMounts", "workingDir",
    },
}  # fmt: skip
REQUIRED = {"head": {"template"}, "workers": {"groupName", "minReplicas", "maxReplicas", "template"}}


def document(name: str) -> dict:
    (only,) = yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8"))
    return only


def cluster_of(example: dict) -> dict:
    return example["spec"].get("rayClusterSpec", example["spec"])


def pods(example: dict) -> list[dict]:
    if example["kind"] == "Job":
        return [example["spec"]["template"]["spec"]]
    cluster = cluster_of(example)
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


NAMES = ["raycluster.yaml", "rayjob.yaml", "indexed-job.yaml"]


def test_every_example_is_looked_at():
    assert sorted(path.name for path in EXAMPLES.glob("*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "version", "kind"),
    [("raycluster.yaml", "ray.io/v1", "RayCluster"), ("rayjob.yaml", "ray.io/v1", "RayJob"),
     ("indexed-job.yaml", "batch/v1", "Job")],
)  # fmt: skip
def test_an_example_has_only_published_fields(name, version, kind):
    example = document(name)
    assert set(example) == {"apiVersion", "kind", "metadata", "spec"}
    assert (example["apiVersion"], example["kind"]) == (version, kind)
    assert set(example["spec"]) <= FIELDS[kind]
    if kind != "Job":
        cluster = cluster_of(example)
        assert set(cluster) <= FIELDS["RayCluster"]
        for group, fields in [
            (cluster["headGroupSpec"], "head"),
            *((g, "workers") for g in cluster["workerGroupSpecs"]),
        ]:
            assert REQUIRED[fields] <= set(group) <= FIELDS[fields]
            # `ray start` takes texts; YAML would make numbers of them.
            assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for pod in pods(example):
        assert set(pod) <= FIELDS["pod"]
        for container in pod["containers"]:
            assert {"name", "image"} <= set(container) <= FIELDS["container"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_pod_mounts_it_has(name):
    for pod in pods(document(name)):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        assert {mount["name"] for c in pod["containers"] for mount in c.get("volumeMounts", [])} == volumes


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_one_version_of_ray_runs_everywhere(name):
    example = document(name)
    version = cluster_of(example)["rayVersion"]
    assert {c["image"] for pod in pods(example) for c in pod["containers"]} == {
        f"registry.example.org/ferbench:ray-{version}"
    }
    assert f"FROM rayproject/ray:{version}-py311" in (EXAMPLES / "Dockerfile").read_text(encoding="utf-8")


def test_both_clusters_have_the_same_pods():
    assert pods(document("raycluster.yaml")) == pods(document("rayjob.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_no_credential_is_written_down(name):
    for pod in pods(document(name)):
        for container in pod["containers"]:
            assert {variable["name"] for variable in container.get("env", [])} <= {
                "FERBENCH_CACHE",
                "FERBENCH_CACHE_SIZE",
            }


def commands_in(name: str) -> list[list[str]]:
    """Every `ferbench ...` of a file, its comments included, with what the shell would make of it for the first pod."""
    found = []
    for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines():
        before, ferbench, rest = line.lstrip("# -").partition("ferbench ")
        if ferbench and (not before or before.endswith(("exec ", "-- "))):
            found.append(
                shlex.split(rest.partition("      ")[0].rstrip("'").replace("$((JOB_COMPLETION_INDEX + 1))", "1"))
            )
    return found


@pytest.mark.parametrize(("name", "count"), [("raycluster.yaml", 1), ("rayjob.yaml", 1), ("indexed-job.yaml", 2)])
def test_the_commands_are_commands_of_ferbench(name, count):
    from ferbench.commands import cli

    commands = commands_in(name)
    assert len(commands) == count
    for name_of_command, *arguments in commands:
        command = cli.get_command(Context(cli), name_of_command)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("-")} <= known
