"""A plain HTTP client: one connection a request unless told otherwise, and answers that read easily."""
import http.client
import json


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:2000]!r}>"


def request(port, method, path, body=None, headers=None, connection=None, timeout=60):
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        own.request(method, path, body=body, headers=headers or {})
        response = own.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        if connection is None:
            own.close()


def problem(answer, *statuses):
    """Assert that answer is a problem document (RFC 9457) with one of these statuses; return it."""
    assert answer.status in statuses, f"expected {statuses}, got {answer!r}"
    assert answer.headers.get("content-type") == "application/problem+json", answer
    document = answer.json
    assert {"type", "title", "status", "detail"} <= set(document), document
    assert document["status"] == answer.status, document
    assert document["title"] and document["detail"], document
    for error in document.get("errors", []):
        assert set(error) == {"pointer", "detail"} and error["detail"], document
    return document


def pointers(document):
    return {error["pointer"] for error in document.get("errors", [])}
