"""The package that the conformance suite of the protocol calls: each of its tools an agent of Mix."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_package"]

_PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301"
        "0100c9fe92ef0000000049454e44ae426082"
    )
).decode()
_WAV = base64.b64encode(
    b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"
).decode()

_HEAD = """module {name}(p: data)
  _meta_ {{ description: {about}, inParams: {takes}, outParams: "data" }}
  foreign def ask : data -> data = "$mcp_ask"
  foreign def progress : number -> data -> data -> data = "$core_progress"
  foreign def log : string -> string -> data = "$core_log"
  foreign def sleep : number -> data = "$core_sleep"
  foreign def text_of : data -> string = "%json_format"
  def all(q) = ask(q) |> (ok(v) -> v | error(e) -> fail(e))
  def result(content) = {{"_rmx_type": "mcp_result", "content": content}}
  def text(t) = result([{{"type": "text", "text": t}}])
  def form(message, fields, required) = {{"method": "elicitation/create", "params": {{"mode": "form",
    "message": message, "requestedSchema": {{"type": "object", "properties": fields, "required": required}}}}}}
  def sample(t, most) = {{"method": "sampling/createMessage", "params": {{"messages": [{{"role": "user",
    "content": {{"type": "text", "text": t}}}}], "maxTokens": most}}}}
  def roots = {{"method": "roots/list", "params": {{}}}}
  def flooded(most) {{
    var i = 0
    while (i < most) {{
      i = i + 1
      let _ = progress(i, most, "step")
    }}
    return null
  }}
  def logged(level, t) {{ let _ = log(level, t); return null }}
  var cell m_p = p
  cell output = {body}
module end
"""


def _block(**about: Any) -> str:
    return f"result([{json.dumps(about)}])"


_STRING = '{"type": "string"}'
_NAME = f'form("What is your name?", {{"name": {_STRING}}}, ["name"])'

AGENTS: Mapping[str, tuple[str, str, str]] = {
    # app_agent: parameters, what it does, body
    "test_simple_text": ("{}", "Answers text", 'text("This is a simple text response for testing.")'),
    "test_image_content": ("{}", "Answers a picture", _block(type="image", data=_PNG, mimeType="image/png")),
    "test_audio_content": ("{}", "Answers a sound", _block(type="audio", data=_WAV, mimeType="audio/wav")),
    "test_embedded_resource": (
        "{}",
        "Answers a resource",
        _block(
            type="resource",
            resource={
                "uri": "test://embedded-resource",
                "mimeType": "text/plain",
                "text": "This is an embedded resource content.",
            },
        ),
    ),
    "test_multiple_content_types": (
        "{}",
        "Answers several kinds",
        "result("
        + json.dumps(
            [
                {"type": "text", "text": "Multiple content types test:"},
                {"type": "image", "data": _PNG, "mimeType": "image/png"},
                {
                    "type": "resource",
                    "resource": {
                        "uri": "test://mixed-content-resource",
                        "mimeType": "application/json",
                        "text": '{"test":"data","value":123}',
                    },
                },
            ]
        )
        + ")",
    ),
    "test_tool_with_logging": (
        "{}",
        "Writes to the log",
        'do { let _ = log("info", "Tool execution started"); let _ = sleep(50); '
        'let _ = log("info", "Tool processing data"); let _ = sleep(50); '
        'let _ = log("info", "Tool execution completed"); return text("logged") }',
    ),
    "test_error_handling": ("{}", "Fails", 'fail("This tool intentionally returns an error for testing")'),
    "test_tool_with_progress": (
        "{}",
        "Tells how far it is",
        "do { let _ = progress(0, 100, null); let _ = sleep(50); let _ = progress(50, 100, null); "
        'let _ = sleep(50); let _ = progress(100, 100, null); return text("done") }',
    ),
    "test_sampling": (
        '{prompt: "string"}',
        "Asks the model",
        'text("LLM response: " + text_of(all({q: sample(m_p.prompt, 100)}).q.content))',
    ),
    "test_elicitation": (
        '{message: "string"}',
        "Asks the user",
        'text("User response: " + text_of(all({q: form(m_p.message, {"username": {"type": "string", "description": '
        '"User\'s response"}, "email": {"type": "string", "description": "User\'s email address"}}, '
        '["username", "email"])}).q))',
    ),
    "test_elicitation_sep1034_defaults": (
        "{}",
        "Asks with defaults",
        'text("Elicitation completed: " + text_of(all({q: form("Please review", '
        + json.dumps(
            {
                "name": {"type": "string", "default": "John Doe"},
                "age": {"type": "integer", "default": 30},
                "score": {"type": "number", "default": 95.5},
                "status": {
                    "type": "string",
                    "enum": ["active", "inactive", "pending"],
                    "default": "active",
                },
                "verified": {"type": "boolean", "default": True},
            }
        )
        + ", [])}).q))",
    ),
    "test_elicitation_sep1330_enums": (
        "{}",
        "Asks with choices",
        'text("Elicitation completed: " + text_of(all({q: form("Please choose", '
        + json.dumps(
            {
                "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
                "titledSingle": {
                    "type": "string",
                    "oneOf": [
                        {"const": "value1", "title": "First Option"},
                        {"const": "value2", "title": "Second Option"},
                        {"const": "value3", "title": "Third Option"},
                    ],
                },
                "legacyEnum": {
                    "type": "string",
                    "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"],
                },
                "untitledMulti": {
                    "type": "array",
                    "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
                },
                "titledMulti": {
                    "type": "array",
                    "items": {
                        "anyOf": [
                            {"const": "value1", "title": "First Choice"},
                            {"const": "value2", "title": "Second Choice"},
                            {"const": "value3", "title": "Third Choice"},
                        ]
                    },
                },
            }
        )
        + ", [])}).q))",
    ),
    "test_input_required_result_elicitation": (
        "{}",
        "Asks for a name",
        f'text("Hello, " + text_of(all({{"user_name": {_NAME}}})))',
    ),
    "test_input_required_result_sampling": (
        "{}",
        "Asks the model",
        'text(text_of(all({"capital_question": sample("What is the capital of France?", 100)})))',
    ),
    "test_input_required_result_list_roots": (
        "{}",
        "Asks for roots",
        'text(text_of(all({"client_roots": roots})))',
    ),
    "test_input_required_result_request_state": (
        "{}",
        "Asks to confirm",
        'text("state-ok " + text_of(all({"confirm": form("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])})))',
    ),
    "test_input_required_result_multiple_inputs": (
        "{}",
        "Asks several things",
        f'text(text_of(all({{"user_name": {_NAME}, "greeting": sample("Generate a greeting", 50), '
        '"client_roots": roots})))',
    ),
    "test_input_required_result_multi_round": (
        "{}",
        "Asks twice",
        'do { let one = all({"step1": form("Step 1: What is your name?", {"name": {"type": "string"}}, ["name"])}); '
        'let two = all({"step2": form("Step 2: What is your favorite color?", {"color": {"type": "string"}}, '
        '["color"])}); return text(text_of([one, two])) }',
    ),
    "test_input_required_result_tampered_state": (
        "{}",
        "Asks to confirm",
        'text(text_of(all({"confirm": form("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])})))',
    ),
    "test_input_required_result_capabilities": (
        "{}",
        "Asks what the client can do",
        'do { let one = ask({"capital_question": sample("What is the capital of France?", 100)}); '
        'return one |> (ok(v) -> text(text_of(v)) | error(e) -> text(text_of(all({"user_name": '
        + _NAME
        + "})))) }",
    ),
    "test_missing_capability": (
        "{}",
        "Needs a client with a model",
        'text(text_of(all({"q": sample("Say something", 10)})))',
    ),
    "test_logging_tool": (
        "{}",
        "Writes to the log",
        'do { let _ = log("info", "a line"); return text("logged") }',
    ),
    "test_streaming_elicitation": (
        "{}",
        "Asks after it has told how far it is",
        f'do {{ let _ = progress(1, 2, null); return text(text_of(all({{"user_name": {_NAME}}}))) }}',
    ),
    "test_prompt_context": (
        "{}",
        "Makes a prompt",
        'do { let found = all({"user_context": form("What context should the prompt use?", '
        '{"context": {"type": "string"}}, ["context"])}); return {"messages": [{"role": "user", "content": '
        '{"type": "text", "text": "In this context: " + text_of(found)}}]} }',
    ),
    "test_template_data": (
        '{id: "string", uri: "string"}',
        "Makes a resource",
        '{"id": m_p.id, "templateTest": true, "data": "Data for ID: " + m_p.id}',
    ),
    "test_greet": ('{name: "string"}', "Greets", 'text("Hello, " + m_p.name + "!")'),
    "test_slow_compute": (
        '{seconds: "number", "label?": "string"}',
        "Takes that long",
        'do { let _ = sleep(m_p.seconds * 1000); return text("done") }',
    ),
    "test_failing_job": ("{}", "Fails", 'do { let _ = sleep(1000); return fail("it failed") }'),
    "test_protocol_error_job": ("{}", "Asks for what no client can", 'text(text_of(all({"q": roots})))'),
    "test_confirm_delete": (
        '{"filename?": "string"}',
        "Asks first",
        'text(text_of(all({"q": form("Delete it?", {"confirm": {"type": "boolean"}}, ["confirm"])})))',
    ),
    "test_ask_elsewhere": (
        "{}",
        "Asks at another place",
        'text(text_of(all({"q": {"method": "elicitation/create", "params": {"mode": "url", "message": "Sign in", '
        '"url": "https://example.org/sign-in"}}})))',
    ),
    "test_ask_with_tools": (
        "{}",
        "Asks the model, which may call a tool",
        'text(text_of(all({"q": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 10, '
        '"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}}})))',
    ),
    "test_mirrored": (
        '{region: "string", "size?": "int", "dry?": "bool"}',
        "Takes arguments that stand in headers too",
        "text(m_p.region)",
    ),
    "test_flood": (
        "{}",
        "Tells of each step without a pause",
        'do { let _ = flooded(50000); return text("done") }',
    ),
    "test_multi_input": (
        "{}",
        "Asks twice at once",
        f'text(text_of(all({{"one": {_NAME}, "two": {_NAME}}})))',
    ),
    "test_tool_with_task": (
        "{}",
        "Asks, and takes long then",
        f'text(text_of(all({{"user_name": {_NAME}}})))',
    ),
}

TASKS = {
    "greet": "never",
    "slow_compute": "at_once",
    "failing_job": "required",
    "protocol_error_job": "at_once",
    "confirm_delete": "at_once",
    "multi_input": "at_once",
    "tool_with_task": "required",
}

RECORDS: list[dict[str, Any]] = [
    {
        "_rmx_type": "mcp_resource",
        "uri": "test://static-text",
        "name": "static-text",
        "description": "A text",
        "mimeType": "text/plain",
        "text": "This is the content of the static text resource.",
    },
    {
        "_rmx_type": "mcp_resource",
        "uri": "test://static-binary",
        "name": "static-binary",
        "description": "A picture",
        "mimeType": "image/png",
        "blob": {"_rmx_type": "{tag}bin", "_rmx_value": _PNG},
    },
    {
        "_rmx_type": "mcp_resource",
        "uri": "test://watched-resource",
        "name": "watched",
        "description": "A text that may change",
        "text": "as it is",
    },
    {
        "_rmx_type": "mcp_resource",
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data by id",
        "mimeType": "application/json",
        "agent": "template_data",
        "values": {"id": [f"{i}" for i in range(200)]},
    },
    {
        "_rmx_type": "mcp_prompt",
        "name": "test_simple_prompt",
        "description": "A prompt",
        "messages": [
            {"role": "user", "content": {"type": "text", "text": "This is a simple prompt for testing."}}
        ],
    },
    {
        "_rmx_type": "mcp_prompt",
        "name": "test_prompt_with_arguments",
        "description": "A prompt with arguments",
        "arguments": [
            {"name": "arg1", "description": "First", "required": True, "values": ["Paris", "park", "Rome"]},
            {"name": "arg2", "description": "Second", "required": True},
        ],
        "messages": [
            {
                "role": "user",
                "content": {
                    "type": "text",
                    "text": "Prompt with arguments: arg1='{arg1}', arg2='{arg2}'",
                },
            }
        ],
    },
    {
        "_rmx_type": "mcp_prompt",
        "name": "test_prompt_with_embedded_resource",
        "description": "A prompt with a resource",
        "arguments": [{"name": "resourceUri", "description": "Which", "required": True}],
        "messages": [
            {
                "role": "user",
                "content": {
                    "type": "resource",
                    "resource": {
                        "uri": "{resourceUri}",
                        "mimeType": "text/plain",
                        "text": "Embedded resource content for testing.",
                    },
                },
            },
            {
                "role": "user",
                "content": {"type": "text", "text": "Please process the embedded resource above."},
            },
        ],
    },
    {
        "_rmx_type": "mcp_prompt",
        "name": "test_prompt_with_image",
        "description": "A prompt with a picture",
        "messages": [
            {"role": "user", "content": {"type": "image", "data": _PNG, "mimeType": "image/png"}},
            {"role": "user", "content": {"type": "text", "text": "Please analyze the image above."}},
        ],
    },
    {
        "_rmx_type": "mcp_prompt",
        "name": "test_input_required_result_prompt",
        "description": "A prompt that asks",
        "agent": "prompt_context",
    },
]


RECORDS += [
    {
        "_rmx_type": "mcp_tool",
        "agent": "mirrored",
        "name": "test_mirrored",
        "headers": {"region": "Region", "size": "Size", "dry": "Dry", "nothing": "Nothing"},
    }
]
RECORDS += [
    {
        "_rmx_type": "mcp_tool",
        "agent": agent,
        "name": f"test_{agent}" if agent == "tool_with_task" else agent,
        "task": task,
    }
    for agent, task in TASKS.items()
]


def write_package(folder: Path) -> None:
    """Write the sources of the package into an empty folder."""
    apps: dict[str, dict[str, Any]] = {}
    for name, (takes, about, body) in AGENTS.items():
        app, _, agent = name.partition("_")
        source = _HEAD.format(name=agent, about=json.dumps(about), takes=takes, body=body)
        (folder / f"{agent}.mix").write_text(source)
        apps.setdefault(app, {"agents": {}})["agents"][agent] = {"code": f"{agent}.mix"}
    records = folder / "records"
    records.mkdir()
    (records / "test.ndjson").write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS))
    manifest = {
        "format": 3,
        "name": "mcp-conformance",
        "version": "1.0",
        "kind": "app",
        "apps": apps,
        "grants": {"ffis": ["$mcp_ask", "$core_*"]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
