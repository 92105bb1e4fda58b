#include "api/problem.h"

#include <string.h>

const char problem_type[] = "application/problem+json";

const char *problem_title(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 417:
        return "Expectation Failed";
    case 421:
        return "Misdirected Request";
    case 422:
        return "Unprocessable Content";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Error";
    }
}

void problem_write(int status, const char *detail, const char *faults, struct buf *body)
{
    (void)buf_addf(body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":",
                   problem_title(status), status);
    (void)buf_add_json(body, detail, strlen(detail));
    if (faults)
        (void)buf_addf(body, ",\"errors\":%s", faults);
    (void)buf_adds(body, "}");
}

const char *problem_of_server(int status, const char *detail, struct buf *body)
{
    problem_write(status, detail, NULL, body);
    return problem_type;
}
