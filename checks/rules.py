"""What each of the rules has to find (``ruleid``) and to leave alone (``ok``). Nothing runs this: semgrep reads it."""
# A comment is about the line below it. Linters do not look here.

import base64
import binascii
import hmac
import ssl
import subprocess

import msgspec

# ruleid: pickle
import pickle
# ruleid: pickle
from marshal import loads


def compared(presented, token, digest, self, secret, file, listed):
    # ruleid: secret-compared-with-equals
    if presented == token:
        return True
    # ruleid: secret-compared-with-equals
    if digest.sha256 != presented:
        return False
    # ruleid: secret-compared-with-equals
    if self._auth_token == presented:
        return True
    # ruleid: secret-compared-with-equals
    if secret.value() == presented or presented == secret:
        return True
    # ok: secret-compared-with-equals
    if token == "":
        return False
    # ok: secret-compared-with-equals
    if len(token) == 32 or token is None:
        return False
    # ok: secret-compared-with-equals
    if file.sha256 != listed["sha256"]:
        return False
    # ok: secret-compared-with-equals
    return hmac.compare_digest(digest.sha256, presented)


def connected(http, context):
    # ruleid: certificate-not-verified
    http.get("https://example.com", verify=False)
    # ruleid: certificate-not-verified
    context.check_hostname = False
    # ruleid: certificate-not-verified
    context.verify_mode = ssl.CERT_NONE
    # ok: certificate-not-verified
    http.get("https://example.com", verify=True)
    # ok: certificate-not-verified
    context.verify_mode = ssl.CERT_REQUIRED


# ok: type-learnt-late
read = msgspec.json.Decoder(Line).decode


def learnt(text):
    # ruleid: type-learnt-late
    msgspec.json.Decoder(Line).decode(text)
    # ruleid: type-learnt-late
    msgspec.msgpack.decode(text, type=Line)
    # ok: type-learnt-late
    read(text)
    # ok: type-learnt-late
    msgspec.json.decode(text)


def started(name, os, asyncio):
    # ruleid: shell
    subprocess.run(f"sox {name}", shell=True)
    # ok: shell
    subprocess.run(["sox", name])


def logged(log, self, name):
    # ruleid: log-event-is-not-a-literal
    log.warning(f"stream {name} failed")
    # ruleid: log-event-is-not-a-literal
    log.info("stream %s" % name)
    # ruleid: log-event-is-not-a-literal
    self._log.error(name, stream=1)
    # ok: log-event-is-not-a-literal
    log.info("stream_failed", stream=f"{name}")


def read(numpy, yaml, text):
    # ruleid: yaml-load
    yaml.load(text)
    # ruleid: yaml-load
    yaml.load(text, Loader=yaml.SafeLoader)
    # ruleid: pickle
    numpy.load(text, allow_pickle=True)
    # ok: yaml-load
    return yaml.safe_load(text)


def tried(work):
    # ruleid: bare-except
    try:
        work()
    except:
        pass
    # ok: bare-except
    try:
        work()
    except Exception:
        pass
    # ok: bare-except
    try:
        work()
    except (ValueError, OSError) as error:
        print(error)


def decoded(text):
    # ruleid: base64-read-leniently
    base64.b64decode(text)
    # ruleid: base64-read-leniently
    binascii.a2b_base64(text)
    # ok: base64-read-leniently
    base64.b64decode(text, validate=True)
    # ok: base64-read-leniently
    return binascii.a2b_base64(text, strict_mode=True)


def run(text):
    # ruleid: code-from-text
    return eval(text)
