-- The steps of the Redis engine, as a library of Redis functions. redis.c puts a line with its name in
-- front (a digest of this text, so that several versions of the program can share a Redis).
--
-- A batch of steps is one call of apply(): it is atomic, and Redis writes all it did into its log as one
-- transaction. Redis takes nothing back when a function fails, so every step first reads, then decides,
-- and then only writes what cannot fail (out of memory is refused before the call begins). What the
-- steps of one batch add to counters, indexes and outbox is written once, by flush().
--
-- Keys, all with the hash tag of their shard, PREFIX = {assay:0}:
--
--   meta        hash: version, key (of the permutation of ids), lease (ms), process (last number given)
--   count       hash: accepted, taken, pruned, runs_success, runs_failed, rescued, feed, err0 …, ev0 …
--   p:NUMBER    string: an asset as it was put, "urls accepted " and a record of path and URLs. All that is
--               kept of one that is *new*: nobody has claimed it yet. Numbers are claimed in their order, so
--               the new are those above `taken`, up to `accepted`: they are in no other list, and a put
--               writes nothing but this
--   in:0 … in:3 sorted sets: the assets that are queued (but for the new), started, success, failed; score
--               and member are the number. Their sizes are the counts by state
--   queue       stream: runs that are queued again ("number run since after": it comes after the new ones up
--               to that number), consumer group "workers"
--   again       stream: runs that were claimed otherwise; same group. Who has an asset has its entry in
--               one of the two pending lists; time since the last XCLAIM is the age of its lease
--   later       sorted set: started runs that nobody has, by when they may be claimed; member REF
--   a:NUMBER    hash: an asset that was claimed. s: its state, as below. xRUN, rRUN: errors and report of a
--               run that ended. eRUNs, eRUNt: its started and its terminal event. lRUNs, lRUNt: their attempts
--   due, leased sorted sets: pending events, by when they are due or their lease ends; member EVENT
--   dead        sorted set: events that were given up; score 0, member EVENT
--   feed        stream: one entry a batch; its id is the number of its last change. f: "number run state",
--               or "first+more 1 0" of so many more that were put one after the other, joined by ";"
--   idem:KEY    string: "since number digest"; idems: sorted set of "KEY number" by since
--   ring:N      hash: slot → sample
--   held:N      set: EVENTs that the process N has leased
--   beat        sorted set: processes by their last sign of life (ms, server's clock)
--   procs       hash: process → "last sign of life, for how long (ms), what it tells"
--   want        hash: process → how many active threads it was asked for
--   leases      sorted set: "process lease", by when it was declared too long ago (seconds, server's clock)
--   damaged     list: REFs of assets whose record made no sense when they were claimed
--
-- Version 1 had each put in queue and in:0, and its record in field p of its hash; what is left of that is
-- still read. It had `later` as `delayed`, which is a string now: that stops its programs if they still run.
--
-- REF is number and run, EVENT is number, run and 0 or 1, in hexadecimal of fixed length, so that the
-- order of the text is the order of the numbers.
--
-- s = "state run attempts urls accepted started ended since deaths codes holder": urls is one digit a URL
--     (enum url_state); holder: "-" queued or ended, "w" in later, else "qENTRY@PROCESS" or
--     "aENTRY@PROCESS", the entry in queue or again and the process that has it.
-- e = "state notify due attempts created last status duration error"

local call, fmt, match, sub, floor -- set at the first call: a library has no globals while it is loaded
local GROUP = 'workers'
local SHARE = 16                  -- of those that wait, one in so many goes to one claim
local MAX_RUN = 32767
local MAX_SEQ = 2 ^ 40            -- numbers of one shard
local IDEMPOTENCY_MS = 24 * 3600 * 1000
local ATTEMPTS_MAX = 32
local OTHERS_MAX = 500            -- entries of the feed, and keys, that one step deletes
local S = '^(%d) (%d+) (%d+) (%d%d%d) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$'
local E = '^(%d) (%d) (%-?%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (.*)$'
local FULL, LOST, NOTHING, DONE = 'f', 'l', 'n', 'd'
local STREAMS = { q = 'queue', a = 'again' }

local function ref_of(num, run)
  return fmt('%012x%04x', num, run)
end

local function event_ref(num, run, terminal)
  return fmt('%012x%04x', num, run * 2 + (terminal and 1 or 0))
end

local function read_ref(ref)
  return fmt('%.0f', tonumber(sub(ref, 1, 12), 16)), tonumber(sub(ref, 13, 16), 16)
end

local function read_event_ref(ref)
  local num, low = read_ref(ref)
  return num, fmt('%.0f', floor(low / 2)), low % 2 == 1
end

local function event_field(run, terminal)
  return 'e' .. run .. (terminal and 't' or 's')
end

local function read_event(e)
  local state, notify, due, attempts, created, last, status, duration, why = match(e, E)
  if not state then
    error('a record of an event makes no sense', 0)
  end
  return { state = state, notify = notify, due = due, attempts = attempts, created = created,
           last = last, status = status, duration = duration, error = why }
end

local function write_event(e)
  return e.state .. ' ' .. e.notify .. ' ' .. e.due .. ' ' .. e.attempts .. ' ' .. e.created .. ' '
         .. e.last .. ' ' .. e.status .. ' ' .. e.duration .. ' ' .. e.error
end

-- ---- what a batch adds up ----

local function key(c, name)
  return c.prefix .. name
end

local function count(c, name, n)
  c.counts[name] = (c.counts[name] or 0) + n
end

-- from: nil of one that is new
local function move(c, num, from, to)
  local m = c.moved[num]
  if from == '0' then
    c.requeued = c.requeued - 1
  end
  if to == '0' then
    c.requeued = c.requeued + 1
  end
  if m then
    from = m.from
  end
  c.moved[num] = { from = from, to = to }
end

local function queued(c)
  return c.accepted - c.taken + c.requeued
end

-- The puts since the last change that was none.
local function feed_puts(c)
  local n = c.accepted - c.fed
  if n > 0 then
    c.feed[#c.feed + 1] = fmt(n == 1 and '%.0f 1 0' or '%.0f+%.0f 1 0', c.fed + 1, n - 1)
    c.changes = c.changes + n
    c.fed = c.accepted
  end
end

local function add_feed(c, num, run, state)
  feed_puts(c)
  c.feed[#c.feed + 1] = num .. ' ' .. run .. ' ' .. state
  c.changes = c.changes + 1
end

-- How many changes an entry of the feed tells of.
local function count_changes(entry)
  local _, n = string.gsub(entry[2][4], '[^;]+', '')
  for more in string.gmatch(entry[2][4], '%+(%d+)') do
    n = n + tonumber(more)
  end
  return n
end

local function add_due(c, due, member)
  c.due[#c.due + 1] = due
  c.due[#c.due + 1] = member
end

-- redis.call with a long list: Lua passes some thousand arguments at most.
local function call_parts(command, args)
  for first = 1, #args, 4000 do
    call(command, unpack(args, first, math.min(first + 3999, #args)))
  end
end

local function call_many(command, k, args, extra)
  for first = 1, #args, 4000 do
    if extra then
      call(command, k, extra, unpack(args, first, math.min(first + 3999, #args)))
    else
      call(command, k, unpack(args, first, math.min(first + 3999, #args)))
    end
  end
end

local function flush_events(c)
  if #c.settled > 0 then
    local n = 0
    for first = 1, #c.settled, 4000 do
      n = n + call('ZREM', key(c, 'leased'), unpack(c.settled, first, math.min(first + 3999, #c.settled)))
    end
    if n < #c.settled then -- leases that had run out already
      call_many('ZREM', key(c, 'due'), c.settled)
    end
    call_many('SREM', key(c, 'held:' .. c.me), c.settled)
    c.settled = {}
  end
  if #c.due > 0 then
    call_many('ZADD', key(c, 'due'), c.due)
    c.due = {}
  end
end

local function flush_acks(c)
  for letter, ids in pairs(c.acks) do
    if #ids > 0 then
      call_many('XACK', key(c, STREAMS[letter]), ids, GROUP)
      call_many('XDEL', key(c, STREAMS[letter]), ids)
      c.acks[letter] = {}
    end
  end
end

local function flush_moves(c)
  local add, rem = {}, {}
  for num, m in pairs(c.moved) do
    if m.from ~= m.to then
      if m.from then
        local r = rem[m.from] or {}
        rem[m.from] = r
        r[#r + 1] = num
      end
      if m.to then
        local a = add[m.to] or {}
        add[m.to] = a
        a[#a + 1] = num
        a[#a + 1] = num
      end
    end
  end
  for state, members in pairs(rem) do
    call_many('ZREM', key(c, 'in:' .. state), members)
  end
  for state, pairs_ in pairs(add) do
    call_many('ZADD', key(c, 'in:' .. state), pairs_)
  end
  c.moved = {}
end

local function flush_puts(c)
  if #c.puts > 0 then
    call_parts('MSET', c.puts)
    c.puts, c.work = {}, true
  end
end

local function flush(c)
  flush_puts(c)
  flush_events(c)
  flush_acks(c)
  flush_moves(c)
  feed_puts(c)
  if #c.feed > 0 then
    c.last = c.last + c.changes
    call('XADD', key(c, 'feed'), fmt('%.0f-0', c.last), 't', c.now, 'f', table.concat(c.feed, ';'))
    c.feed, c.changes = {}, 0
    c.told, c.moved_on = true, true
  end
  if c.moved_on then
    call('HSET', key(c, 'count'), 'accepted', c.accepted, 'taken', c.taken, 'feed', c.last)
    c.moved_on = false
  end
  for name, n in pairs(c.counts) do
    if n ~= 0 then
      call('HINCRBY', key(c, 'count'), name, n)
    end
  end
  c.counts = {}
end

local function makes_no_sense(num)
  error('the record of asset number ' .. num .. ' makes no sense', 0)
end

-- A new asset, and its record of path and URLs, from what was put.
local function read_put(num, put)
  local urls, accepted, at = match(put, '^(%d%d%d) (%d+) ()')
  if not urls then
    makes_no_sense(num)
  end
  return { state = '0', run = '1', attempts = '0', urls = urls, accepted = accepted, started = '0', ended = '0',
           since = accepted, deaths = '0', codes = '0', holder = '-', new = true }, sub(put, at)
end

-- The record of path and URLs alone, or nil.
local function load_record(c, num)
  local put = call('GET', key(c, 'p:' .. num))
  if put then
    local ok, _, record = pcall(read_put, num, put)
    return ok and record or nil
  end
  return call('HGET', key(c, 'a:' .. num), 'p') or nil -- as version 1 had it
end

-- An asset and the values of these fields of its hash, or nil.
local function load_asset(c, num, ...)
  local v = call('HMGET', key(c, 'a:' .. num), 's', ...)
  if not v[1] then
    local put = call('GET', key(c, 'p:' .. num))
    return put and read_put(num, put), v
  end
  local state, run, attempts, urls, accepted, started, ended, since, deaths, codes, holder = match(v[1], S)
  if not state then
    makes_no_sense(num)
  end
  return { state = state, run = run, attempts = attempts, urls = urls, accepted = accepted,
           started = started, ended = ended, since = since, deaths = deaths, codes = codes,
           holder = holder }, v
end

local function write_asset(a)
  return a.state .. ' ' .. a.run .. ' ' .. a.attempts .. ' ' .. a.urls .. ' ' .. a.accepted .. ' '
         .. a.started .. ' ' .. a.ended .. ' ' .. a.since .. ' ' .. a.deaths .. ' ' .. a.codes .. ' '
         .. a.holder
end

-- Nobody holds the run any more.
local function let_go(c, num, a)
  local letter, id = match(a.holder, '^([qa])(%d+%-%d+)@')
  if letter then
    local ids = c.acks[letter]
    ids[#ids + 1] = id
  elseif a.holder == 'w' then
    call('ZREM', key(c, 'later'), ref_of(num, a.run))
  end
end

local function delay(c, num, a, score)
  call('ZADD', key(c, 'later'), score, ref_of(num, a.run))
  c.told = true
end

-- ---- steps ----

local steps = {}

-- what is put; answers the number
function steps.P(c, put)
  local num = c.accepted + 1
  if queued(c) >= c.max_queued or num >= MAX_SEQ then
    return FULL
  end
  local puts = c.puts
  local n = #puts
  puts[n + 1], puts[n + 2] = c.put_key .. num, put
  c.accepted = num
  return num
end

-- the same, idempotency key and digest
function steps.I(c, put, idempotency, digest)
  local idem_key = key(c, 'idem:' .. idempotency)
  local first = call('GET', idem_key)
  if first then
    local since, num, known = match(first, '^(%d+) (%d+) (.*)$')
    if since and tonumber(since) > tonumber(c.now) - IDEMPOTENCY_MS then
      return known == digest and 'r' .. num or 'c'
    end
  end
  local num = steps.P(c, put)
  if num ~= FULL then
    call('SET', idem_key, fmt('%s %.0f %s', c.now, num, digest))
    call('ZADD', key(c, 'idems'), c.now, fmt('%s %.0f', idempotency, num))
  end
  return num
end

-- number, urls
function steps.T(c, num, urls)
  flush_puts(c)
  local a = load_asset(c, num)
  if not a then
    return NOTHING
  end
  if a.state < '2' then
    return LOST
  end
  local run = tonumber(a.run) + 1
  if queued(c) >= c.max_queued or run > MAX_RUN then
    return FULL
  end
  call('XADD', key(c, 'queue'), '*', 'a', fmt('%s %s %s %.0f', num, run, c.now, c.accepted))
  move(c, num, a.state, '0')
  a.state, a.run, a.attempts, a.urls = '0', run, 0, urls
  a.started, a.ended, a.since, a.deaths, a.codes, a.holder = 0, 0, c.now, 0, 0, '-'
  call('HSET', key(c, 'a:' .. num), 's', write_asset(a))
  add_feed(c, num, run, '0')
  c.work = true
  return DONE
end

-- The next attempt at one asset, whose entry in a pending list is ours.
local function take(c, num, a, holder, out, record)
  local first = a.state == '0'
  a.attempts = tonumber(a.attempts) + 1
  a.holder = holder .. '@' .. c.me
  local event, field
  if first then
    move(c, num, not a.new and '0' or nil, '1')
    a.state, a.started = '1', c.now
    add_feed(c, num, a.run, '1')
    local url = sub(a.urls, 1, 1)
    if url == '1' or url == '4' then
      local state = url == '4' and '4' or '1'
      event = state .. ' 0 ' .. c.now .. ' 0 ' .. c.now .. ' 0 0 0 '
      field = event_field(a.run, false)
      count(c, 'ev' .. state, 1)
      if state == '1' then
        add_due(c, c.now, event_ref(num, a.run, false))
      end
    end
  end
  local s = write_asset(a)
  if event then
    call('HSET', key(c, 'a:' .. num), 's', s, field, event)
  else
    call('HSET', key(c, 'a:' .. num), 's', s)
  end
  out[#out + 1] = num
  out[#out + 1] = s
  out[#out + 1] = record
end

-- A claim must not end at a record that makes no sense: it is put aside, for people to look at.
local function load_or_put_aside(c, num, run, put_aside)
  local ok, a = pcall(load_asset, c, num)
  local record = ok and a and not a.new and a.run == tostring(run) and load_record(c, num)
  if record then
    return a, record
  end
  call('RPUSH', key(c, 'damaged'), ref_of(num, run))
  put_aside()
  return nil
end

local function take_delayed(c, out, max)
  local due = call('ZRANGE', key(c, 'later'), '-inf', c.now, 'BYSCORE', 'LIMIT', 0, max)
  for _, ref in ipairs(due) do
    local num, run = read_ref(ref)
    local a, record = load_or_put_aside(c, num, run, function()
      call('ZREM', key(c, 'later'), ref)
    end)
    if a then
      -- one that somebody died over comes alone, so that it takes nobody along
      local alone = a.deaths ~= '0'
      if alone and #out > 0 then
        return true
      end
      call('XADD', key(c, 'again'), '*', 'a', num .. ' ' .. run)
      local read = call('XREADGROUP', 'GROUP', GROUP, c.me, 'COUNT', 1, 'STREAMS', key(c, 'again'), '>')
      call('ZREM', key(c, 'later'), ref)
      take(c, num, a, 'a' .. read[1][2][1][1], out, record)
      if alone then
        return true
      end
    end
  end
  return false
end

-- How many of the next n that are queued again come before the new ones, and the last of the new ones that
-- come before what follows then.
local function again_first(c, n)
  local seen = '0-0'
  for _, group in ipairs(call('XINFO', 'GROUPS', key(c, 'queue'))) do
    for i = 1, #group, 2 do
      seen = group[i] == 'last-delivered-id' and group[i + 1] or seen
    end
  end
  local entries = call('XRANGE', key(c, 'queue'), '(' .. seen, '+', 'COUNT', n)
  for i, entry in ipairs(entries) do
    local after = tonumber(match(entry[2][2], '^%d+ %d+ %d+ (%d+)$') or 0)
    if after > c.taken then
      return i - 1, after
    end
  end
  return #entries, c.accepted
end

local function take_again(c, out, n)
  local read = call('XREADGROUP', 'GROUP', GROUP, c.me, 'COUNT', n, 'STREAMS', key(c, 'queue'), '>')
  for _, entry in ipairs(read[1][2]) do
    local id, num, run = entry[1], match(entry[2][2], '^(%d+) (%d+)')
    local a, record = load_or_put_aside(c, num, run, function()
      c.acks.q[#c.acks.q + 1] = id
    end)
    if a then
      take(c, num, a, 'q' .. id, out, record)
    end
  end
end

-- The next n that are new.
local function take_new(c, out, n)
  local keys, list = {}, {}
  for i = 1, n do
    keys[i] = key(c, fmt('p:%.0f', c.taken + i))
  end
  for i, put in ipairs(call('MGET', unpack(keys))) do
    local num = fmt('%.0f', c.taken + i)
    local ok, a, record = pcall(read_put, num, put or '')
    if ok then
      call('XADD', key(c, 'again'), '*', 'a', num .. ' 1')
      list[#list + 1] = { num, a, record }
    else
      call('RPUSH', key(c, 'damaged'), ref_of(num, 1))
      move(c, num, nil, '0')
    end
  end
  c.taken, c.moved_on = c.taken + n, true
  if #list > 0 then
    local read = call('XREADGROUP', 'GROUP', GROUP, c.me, 'COUNT', #list, 'STREAMS', key(c, 'again'), '>')
    for i, entry in ipairs(read[1][2]) do
      take(c, list[i][1], list[i][2], 'a' .. entry[1], out, list[i][3])
    end
  end
end

local function take_queued(c, out, max)
  local wanted = #out + 3 * max
  while #out < wanted do
    local n = math.min((wanted - #out) / 3, 1000)
    local again, last = 0, c.accepted
    if c.requeued > 0 then
      again, last = again_first(c, n)
    end
    if again > 0 then
      take_again(c, out, again)
    elseif c.taken < last then
      take_new(c, out, math.min(n, last - c.taken))
    else
      return
    end
  end
end

-- An event whose sender will not tell what came of it is due as it was before.
local function unlease(c, ref)
  local num, run, terminal = read_event_ref(ref)
  if call('ZREM', key(c, 'leased'), ref) == 1 then
    local e = call('HGET', key(c, 'a:' .. num), event_field(run, terminal))
    if e then
      call('ZADD', key(c, 'due'), read_event(e).due, ref)
    end
  end
end

local function server_ms()
  local now = call('TIME')
  return tonumber(now[1]) * 1000 + floor(tonumber(now[2]) / 1000)
end

-- The events of processes that have given no sign of life for as long as a lease.
local function rescue_events(c, lease)
  local before = fmt('%.0f', server_ms() - tonumber(lease))
  for _, process in ipairs(call('ZRANGE', key(c, 'beat'), '-inf', before, 'BYSCORE', 'LIMIT', 0, 100)) do
    if process ~= c.me then
      for _, ref in ipairs(call('SMEMBERS', key(c, 'held:' .. process))) do
        unlease(c, ref)
      end
      call('DEL', key(c, 'held:' .. process))
      call('ZREM', key(c, 'beat'), process)
      call('HDEL', key(c, 'procs'), process)
      call('HDEL', key(c, 'want'), process)
    end
  end
end

-- The longest lease that a running process asks for holds for all, so that nobody is robbed who renews in
-- time by his own.
local function declare_lease(c, me, lease)
  local now, leases = tonumber(call('TIME')[1]), key(c, 'leases')
  call('ZREMRANGEBYSCORE', leases, '-inf', now)
  call('ZADD', leases, now + 60 + 2 * math.ceil(tonumber(lease) / 1000), me .. ' ' .. lease)
  local longest = 0
  for _, member in ipairs(call('ZRANGE', leases, 0, -1)) do
    longest = math.max(longest, tonumber(match(member, ' (%d+)$')))
  end
  call('HSET', key(c, 'meta'), 'lease', longest)
end

-- Assets of processes that have not renewed their leases for so long: they may be claimed at once.
local function rescue(c, own_lease)
  flush_acks(c)
  declare_lease(c, c.me, own_lease)
  local lease = call('HGET', key(c, 'meta'), 'lease')
  flush_events(c)
  rescue_events(c, lease)
  for letter, stream in pairs(STREAMS) do
    local cursor = '0-0'
    repeat
      local r = call('XAUTOCLAIM', key(c, stream), GROUP, c.me, lease, cursor, 'COUNT', 100)
      cursor = r[1]
      for _, entry in ipairs(r[2]) do
        local id, num, run = entry[1], match(entry[2][2], '^(%d+) (%d+)')
        local ok, a = pcall(load_asset, c, num)
        if ok and a and a.state == '1' and a.run == run and match(a.holder, '^[^@]+') == letter .. id then
          a.deaths = tonumber(a.deaths) + 1
          a.holder = 'w'
          call('HSET', key(c, 'a:' .. num), 's', write_asset(a))
          delay(c, num, a, 0)
          count(c, 'rescued', 1)
        end
        c.acks[letter][#c.acks[letter] + 1] = id
      end
      flush_acks(c)
    until cursor == '0-0'
  end
end

-- max, and the process's lease when it is time to look for the dead, else 0
function steps.C(c, max, lease)
  if lease ~= '0' then
    rescue(c, lease)
  elseif c.dry then
    return c.dry
  end
  flush_puts(c)
  local delayed = call('ZCARD', key(c, 'later'))
  local share = 1 + floor((queued(c) + delayed) / SHARE)
  max = math.min(tonumber(max), share)
  local out, alone = {}, false
  if delayed > 0 then
    alone = take_delayed(c, out, max)
  end
  if not alone and #out / 3 < max and queued(c) > 0 then
    take_queued(c, out, max - #out / 3)
  end
  local next = '0'
  if #out == 0 and delayed > 0 then
    next = call('ZRANGE', key(c, 'later'), 0, 0, 'WITHSCORES')[2] or '0'
  end
  local answer = { 'c', next, out }
  c.dry = #out == 0 and answer or nil
  return answer
end

-- number, run, state ("2" or "3"), codes, errors ("": none), report
function steps.F(c, num, run, state, codes, errors, report)
  local started_field, ended_field = event_field(run, false), event_field(run, true)
  local a, v = load_asset(c, num, started_field)
  if not a or a.state ~= '1' or a.run ~= run then
    return LOST
  end
  local url = sub(a.urls, tonumber(state), tonumber(state)) -- 2: onSuccess, 3: onFailure
  local event
  if url == '1' or url == '4' then
    local event_state = url == '4' and '4' or '1'
    if url == '1' and v[2] then -- the first attempt at started comes first
      local started = read_event(v[2])
      if started.state == '1' and started.attempts == '0' then
        event_state = '0'
      end
    end
    event = event_state .. ' ' .. (tonumber(state) - 1) .. ' ' .. c.now .. ' 0 ' .. c.now .. ' 0 0 0 '
    count(c, 'ev' .. event_state, 1)
    if event_state == '1' then
      add_due(c, c.now, event_ref(num, run, true))
    end
  end
  let_go(c, num, a)
  move(c, num, '1', state)
  a.state, a.ended, a.codes, a.holder = state, c.now, codes, '-'
  local fields = { 's', write_asset(a), 'r' .. run, report }
  if errors ~= '' then
    fields[#fields + 1] = 'x' .. run
    fields[#fields + 1] = errors
  end
  if event then
    fields[#fields + 1] = ended_field
    fields[#fields + 1] = event
  end
  call('HSET', key(c, 'a:' .. num), unpack(fields))
  count(c, state == '2' and 'runs_success' or 'runs_failed', 1)
  local bits, code = tonumber(codes), 0
  while bits > 0 do
    if bits % 2 == 1 then
      count(c, 'err' .. code, 1)
    end
    bits, code = floor(bits / 2), code + 1
  end
  add_feed(c, num, run, state)
  return DONE
end

-- number, run, not before, whether it counts as an attempt
function steps.R(c, num, run, not_before, fault)
  local a = load_asset(c, num)
  if not a or a.state ~= '1' or a.run ~= run or match(a.holder, '@(.+)$') ~= c.me then
    return LOST
  end
  let_go(c, num, a)
  if fault ~= '1' and a.attempts ~= '0' then
    a.attempts = tonumber(a.attempts) - 1
  end
  a.holder = 'w'
  call('HSET', key(c, 'a:' .. num), 's', write_asset(a))
  delay(c, num, a, not_before)
  c.work = true
  return DONE
end
