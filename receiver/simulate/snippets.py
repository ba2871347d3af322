"""The texts that make SignalWire stream a call to this server: one per surface, both tracks, one way.

Each passes the call's ``from``, ``to`` and ``direction`` as custom parameters, for the stream itself does not say them.
Fields and addresses as published by SignalWire, read 2026-11-21:

- SWML ``stream``: https://signalwire.com/docs/swml/reference/calling/stream; variables ``${call.from}``:
  https://developer.signalwire.com/swml/variables
- RELAY ``call.stream``: https://signalwire.com/docs/server-sdks/reference/python/relay/call/stream and
  …/typescript/relay/call/stream
- REST ``calling.stream``: specs/signalwire-rest/calling-api/calls in github.com/signalwire/docs
- cXML: https://signalwire.com/docs/compatibility-api/cxml/reference/voice/stream; ``{{From}}`` in a cXML script:
  https://developer.signalwire.com/guides/adding-mustache-template-parameters-to-cxml-application-response
- compatibility REST: specs/compatibility-api/calls there; AuthorizationBearerToken is in its startStream
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from xml.sax.saxutils import quoteattr

import msgspec

from receiver.errors import ReceiverError

CODECS = ("PCMU", "PCMA", "OPUS", "L16@16000h", "L16@24000h")
# What cXML's codec attribute takes; it has neither PCMA nor OPUS.
CXML_CODECS = {"PCMU": "PCMU@8000h", "L16@16000h": "L16@16000h", "L16@24000h": "L16@24000h"}
PARAMETERS = ("from", "to", "direction")


class SnippetError(ReceiverError):
    """A surface cannot do what was asked of it."""


class Target(msgspec.Struct, frozen=True):
    """Where the stream shall go, and as what."""

    url: str  # wss://…; SignalWire takes no other
    codec: str = "PCMU"  # one of CODECS; always written out, for without it a surface may use the call's own
    token: str | None = None  # None: a reference to token_env where the surface has an environment, else a placeholder
    token_env: str = "RECEIVER_TOKEN"  # noqa: S105  # the variable's name, not a token

    @property
    def written_token(self) -> str:
        """For surfaces without an environment."""
        return self.token or f"PUT_{self.token_env}_HERE"


def swml(target: Target) -> str:
    """A SWML script. It speaks and waits afterwards, for a script that ends hangs up."""
    stream = _fields(target, {name: f"${{call.{name}}}" for name in PARAMETERS}, target.written_token)
    main = [
        {"answer": {}},
        {"stream": stream},
        {"play": {"urls": ["say:This call is being streamed. Say something.", "silence:60"]}},
    ]
    return json.dumps({"version": "1.0.0", "sections": {"main": main}}, indent=2)


def relay_python(target: Target) -> str:
    """A program for the Python SDK (``pip install signalwire``)."""
    token = json.dumps(target.token or target.token_env)
    token = token if target.token else f"os.environ[{token}]"
    # The SDK passes track through as it is, and the wire's name is both_tracks.
    return f"""\
import os

from signalwire.relay import RelayClient

client = RelayClient(
    project=os.environ["SIGNALWIRE_PROJECT_ID"],
    token=os.environ["SIGNALWIRE_API_TOKEN"],
    host=os.environ["SIGNALWIRE_SPACE"],
    contexts=["default"],
)


@client.on_call
async def handle_call(call):
    await call.answer()
    numbers = call.device.get("params", {{}})
    await call.stream(
        url={json.dumps(target.url)},
        track="both_tracks",
        codec={json.dumps(target.codec)},
        authorization_bearer_token={token},
        custom_parameters={{
            "from": numbers.get("from_number", ""),
            "to": numbers.get("to_number", ""),
            "direction": call.direction,
        }},
    )
    await call.wait_for_ended()


client.run()"""


def relay_js(target: Target) -> str:
    """A program for the JavaScript SDK (``npm install @signalwire/sdk``), an ES module."""
    token = json.dumps(target.token) if target.token else f"process.env.{target.token_env}"
    return f"""\
import {{ RelayClient }} from '@signalwire/sdk';

const client = new RelayClient({{
  project: process.env.SIGNALWIRE_PROJECT_ID,
  token: process.env.SIGNALWIRE_API_TOKEN,
  contexts: ['default'],
}});

client.onCall(async (call) => {{
  await call.answer();
  const numbers = call.device.params ?? {{}};
  await call.stream({json.dumps(target.url)}, {{
    track: 'both_tracks',
    codec: {json.dumps(target.codec)},
    authorizationBearerToken: {token},
    customParameters: {{
      from: numbers.from_number ?? '',
      to: numbers.to_number ?? '',
      direction: call.direction,
    }},
  }});
  await call.waitForEnded();
}});

await client.run();"""


def rest(target: Target) -> str:
    """A curl command for a call that is under way; it asks the shell for the call's facts."""
    parameters = {name: _shell(f"CALL_{name.upper()}") for name in PARAMETERS}
    params = {"control_id": "media-stream-receiver"} | _fields(target, parameters, _shell_token(target))
    body = json.dumps({"id": _shell("CALL_ID"), "command": "calling.stream", "params": params}, indent=2)
    return "\n".join(
        [
            'curl "https://$SIGNALWIRE_SPACE/api/calling/calls" \\',
            '  -u "$SIGNALWIRE_PROJECT_ID:$SIGNALWIRE_API_TOKEN" \\',
            "  -H 'Content-Type: application/json' \\",
            f"  -d {_in_shell(body)}",
        ]
    )


def cxml(target: Target) -> str:
    """A cXML script. It speaks and waits afterwards, for a script that ends hangs up."""
    if target.codec not in CXML_CODECS:
        raise SnippetError(f"cXML has no codec {target.codec}: {', '.join(CXML_CODECS)}")
    names = {"from": "From", "to": "To", "direction": "Direction"}
    parameters = "\n".join(f'      <Parameter name="{name}" value="{{{{{names[name]}}}}}"/>' for name in PARAMETERS)
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Start>
    <Stream url={quoteattr(target.url)} track="both_tracks" codec="{CXML_CODECS[target.codec]}"
            authBearerToken={quoteattr(target.written_token)}>
{parameters}
    </Stream>
  </Start>
  <Say>This call is being streamed. Say something.</Say>
  <Pause length="60"/>
</Response>"""


def compat_rest(target: Target) -> str:
    """A curl command of the compatibility API; it asks the shell for the call's facts."""
    if target.codec != "PCMU":
        raise SnippetError(f"the compatibility API's stream has no codec field: no {target.codec}, it sends PCMU")
    fields = {
        "Url": target.url,
        "Track": "both_tracks",
        "AuthorizationBearerToken": _shell_token(target),
    }
    for number, name in enumerate(PARAMETERS, 1):
        fields |= {f"Parameter{number}.Name": name, f"Parameter{number}.Value": _shell(f"CALL_{name.upper()}")}
    address = "https://$SIGNALWIRE_SPACE/api/laml/2010-04-01/Accounts/$SIGNALWIRE_PROJECT_ID/Calls/$CALL_ID/Streams"
    return " \\\n".join(
        [
            f'curl "{address}"',
            '  -u "$SIGNALWIRE_PROJECT_ID:$SIGNALWIRE_API_TOKEN"',
            *(f"  --data-urlencode {_in_shell(f'{name}={value}')}" for name, value in fields.items()),
        ]
    )


SNIPPETS: Mapping[str, Callable[[Target], str]] = {
    "swml": swml,
    "relay-python": relay_python,
    "relay-js": relay_js,
    "rest": rest,
    "cxml": cxml,
    "compat-rest": compat_rest,
}


def _fields(target: Target, parameters: Mapping[str, str], token: str) -> dict[str, object]:
    """What SWML and REST call it; they agree."""
    return {
        "url": target.url,
        "track": "both_tracks",
        "codec": target.codec,
        "authorization_bearer_token": token,
        "custom_parameters": parameters,
    }


_MARK = "\0"  # stands around a variable until the rest is quoted


def _shell(variable: str) -> str:
    return f"{_MARK}{variable}{_MARK}"


def _shell_token(target: Target) -> str:
    return target.token or _shell(target.token_env)


def _in_shell(text: str) -> str:
    """One word of a shell command: everything literal but the marked variables."""
    pieces = text.replace(json.dumps(_MARK)[1:-1], _MARK).split(_MARK)
    return "".join(f'"${piece}"' if i % 2 else shlex.quote(piece) for i, piece in enumerate(pieces) if piece)
