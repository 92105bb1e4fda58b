"""What schemathesis must be told to make requests as /openapi.json describes them: loaded by it (SCHEMATHESIS_HOOKS)."""
import json
import re
import uuid

import schemathesis

# As /openapi.json has it.
KEY = re.compile(r"""([A-Za-z0-9!#$%&'*+.^_`|~:/=@-]{1,255}|"([ !#-\[\]-~]|\\["\\]){1,255}")""")
NDJSON = "application/x-ndjson"


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """A key belongs to one body, so whoever has another takes another. What is no key stays what it is."""
    for name, value in case.headers.items():
        if name.lower() == "idempotency-key" and isinstance(value, str) and KEY.fullmatch(value):
            rest = "".join(re.findall(r'\\.|[^"\\]', value)[32:])
            quote = '"' if value[0] == '"' else ""
            case.headers[name] = quote + uuid.uuid4().hex + rest + quote


@schemathesis.serializer(NDJSON)
def lines(_context, value):
    """An array's elements, one a line. A string is a line as it is, so that some lines are no JSON."""
    def line(element):
        text = element if isinstance(element, str) else json.dumps(element, ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass").replace(b"\n", b"\r")
    if isinstance(value, bytes):
        return value
    return b"\n".join(map(line, value if isinstance(value, list) else [value]))


@schemathesis.deserializer(NDJSON)
def values(_context, response):
    return [json.loads(text) for text in response.content.splitlines()]
