"""docs/scaling.md: its files are what the tools take, its options exist, its figures are the study's."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from hardlabel.cli import app as cli

PAGE = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text()


def block(title):
    """What stands in the code block under a heading."""
    return re.search(rf"### {title}\n<!-- not run: [^\n]* -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL)[1]


def test_the_cluster_file_fits_rays_own_schema():
    autoscaler = pytest.importorskip("ray.autoscaler")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = yaml.safe_load(block("A cluster file"))
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "auth": {"ssh_usr": "ubuntu"}}, schema)
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert sum(one["max_workers"] for one in types.values()) <= config["max_workers"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs Bash")
def test_the_slurm_script_is_bash():
    assert subprocess.run(["bash", "-n"], input=block("Slurm"), text=True, check=False).returncode == 0


def test_the_kubernetes_object_names_what_it_uses():
    spec = yaml.safe_load(block("KubeRay"))["spec"]["rayClusterSpec"]
    pod = spec["headGroupSpec"]["template"]["spec"]
    mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_every_option_of_the_page_exists():
    commands = typer.main.get_command(cli.app).commands
    lines = re.findall(r"hardlabel (audit|defend|resume|runs|clean) ([^\n#`\"]*)", PAGE)
    assert len(lines) > 8
    for name, rest in lines:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(--[a-z-]+)", rest)) <= known, (name, rest)
