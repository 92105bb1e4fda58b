#!/bin/sh
# check-includes.sh: includes point one way, and each library has one module that speaks to it.
#
#     base ← http client store validate webhook ← api worker monitor ← cmd
#
# Within the second column only webhook may look at neighbours (the store's outbox is its work, the client
# its means). http, client and validate see base alone, so a parser can be read, tested and fuzzed by itself; what runs
# in the jail (validate) can reach neither SQLite nor the client.
set -eu
cd "$(dirname "$0")/.."
find src -name '*.[ch]' | LC_ALL=C sort | xargs awk '
    BEGIN {
        may["base"]     = " base "
        may["http"]     = " base http "
        may["client"]   = " base client "
        may["store"]    = " base store "
        may["validate"] = " base validate "
        may["webhook"]  = " base client store webhook "
        second = " base http client store validate webhook "
        may["api"]      = second "api "
        may["worker"]   = second "worker "
        may["monitor"]  = second "monitor "
        may["cmd"]      = second "api worker monitor cmd "
        only["sqlite3.h"]   = "store"
        only["hiredis/hiredis.h"] = "store"
        only["openssl/ssl.h"] = "client"
        only["seccomp.h"]   = "validate"
    }
    FNR == 1 { split(FILENAME, path, "/"); module = path[2]
               if (!(module in may)) { wrong(module " is no module that this check knows") } }
    function wrong(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; bad = 1 }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\"")
        n = split(quoted[2], to, "/")
        if (n < 2)
            wrong("name the module: #include \"" module "/" quoted[2] "\"")
        else if (!index(may[module], " " to[1] " "))
            wrong(module " may not include " quoted[2])
    }
    /^[ \t]*#[ \t]*include[ \t]*</ {
        split($0, angled, /[<>]/)
        if (angled[2] in only && !index(" " only[angled[2]] " ", " " module " "))
            wrong("only " only[angled[2]] " speaks to <" angled[2] ">")
    }
    END { exit bad }'
