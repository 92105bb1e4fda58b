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
--   count       hash: accepted, pruned, runs_success, runs_failed, rescued, feed, err0 …, ev0 …
--   in:0 … in:3 sorted sets: the assets that are queued, started, success, failed; score and member are
--               the number. Their sizes are the counts by state
--   queue       stream: queued runs ("number run since"), consumer group "workers"
--   again       stream: runs that are claimed once more; same group. Who has an asset has its entry in
--               one of the two pending lists; time since the last XCLAIM is the age of its lease
--   delayed     sorted set: started runs that nobody has, by when they may be claimed; member REF
--   a:NUMBER    hash: an asset. s: its state, as below. p: path and URLs. xRUN, rRUN: errors and report of
--               a run that ended. eRUNs, eRUNt: its started and its terminal event. lRUNs, lRUNt: their
--               attempts
--   due, leased sorted sets: pending events, by when they are due or their lease ends; member EVENT
--   dead        sorted set: events that were given up; score 0, member EVENT
--   feed        stream: one entry a batch; its id is the number of its last change
--   idem:KEY    string: "since number digest"; idems: sorted set of "KEY number" by since
--   ring:N      hash: slot → sample
--   held:N      set: EVENTs that the process N has leased
--   beat        sorted set: processes by their last sign of life (ms, server's clock)
--   leases      sorted set: "process lease", by when it was declared too long ago (seconds, server's clock)
--   damaged     list: REFs of assets whose record made no sense when they were claimed
--
-- REF is number and run, EVENT is number, run and 0 or 1, in hexadecimal of fixed length, so that the
-- order of the text is the order of the numbers.
--
-- s = "state run attempts urls accepted started ended since deaths codes holder": urls is one digit a URL
--     (enum url_state); holder: "-" queued or ended, "w" in delayed, else "qENTRY@PROCESS" or
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

local function move(c, num, from, to)
  local m = c.moved[num]
  if m then
    m.to = to
  else
    c.moved[num] = { from = from, to = to }
  end
  if from == '0' then
    c.queued = c.queued - 1
  end
  if to == '0' then
    c.queued = c.queued + 1
  end
end

local function add_feed(c, num, run, state)
  c.feed[#c.feed + 1] = num .. ' ' .. run .. ' ' .. state
end

local function add_due(c, due, member)
  c.due[#c.due + 1] = due
  c.due[#c.due + 1] = member
end

-- redis.call with a long list: Lua passes some thousand arguments at most.
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

local function flush(c)
  flush_events(c)
  flush_acks(c)
  flush_moves(c)
  if #c.feed > 0 then
    local last = call('HINCRBY', key(c, 'count'), 'feed', #c.feed)
    call('XADD', key(c, 'feed'), fmt('%.0f-0', last), 't', c.now, 'f', table.concat(c.feed, ';'))
    c.feed = {}
    c.told = true
  end
  for name, n in pairs(c.counts) do
    if n ~= 0 then
      call('HINCRBY', key(c, 'count'), name, n)
    end
  end
  c.counts = {}
end

local function load_asset(c, num, ...)
  local v = call('HMGET', key(c, 'a:' .. num), 's', ...)
  if not v[1] then
    return nil
  end
  local state, run, attempts, urls, accepted, started, ended, since, deaths, codes, holder = match(v[1], S)
  if not state then
    error('the record of asset number ' .. num .. ' makes no sense', 0)
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
    if call('ZREM', key(c, 'delayed'), ref_of(num, a.run)) == 1 then
      c.delayed = c.delayed - 1
    end
  end
end

local function delay(c, num, a, score)
  call('ZADD', key(c, 'delayed'), score, ref_of(num, a.run))
  c.delayed = c.delayed + 1
  c.told = true
end

-- ---- steps ----

local steps = {}

-- urls, put record, idempotency key ("": none), digest
function steps.P(c, urls, record, idempotency, digest)
  local idem_key
  if idempotency ~= '' then
    idem_key = key(c, 'idem:' .. idempotency)
    local first = call('GET', idem_key)
    if first then
      local since, num, known = match(first, '^(%d+) (%d+) (.*)$')
      if since and tonumber(since) > tonumber(c.now) - IDEMPOTENCY_MS then
        return known == digest and 'r' .. num or 'c'
      end
    end
  end
  if c.queued >= c.max_queued or c.accepted + 1 >= MAX_SEQ then
    return FULL
  end
  local num = fmt('%.0f', c.accepted + 1)
  call('XADD', key(c, 'queue'), '*', 'a', num .. ' 1 ' .. c.now)
  call('HSET', key(c, 'a:' .. num), 's', '0 1 0 ' .. urls .. ' ' .. c.now .. ' 0 0 ' .. c.now .. ' 0 0 -',
       'p', record)
  if idem_key then
    call('SET', idem_key, c.now .. ' ' .. num .. ' ' .. digest)
    call('ZADD', key(c, 'idems'), c.now, idempotency .. ' ' .. num)
  end
  c.accepted = c.accepted + 1
  count(c, 'accepted', 1)
  move(c, num, nil, '0')
  add_feed(c, num, '1', '0')
  c.work = true
  return DONE .. num
end

-- number, urls
function steps.T(c, num, urls)
  local a = load_asset(c, num)
  if not a then
    return NOTHING
  end
  if a.state < '2' then
    return LOST
  end
  local run = tonumber(a.run) + 1
  if c.queued >= c.max_queued or run > MAX_RUN then
    return FULL
  end
  call('XADD', key(c, 'queue'), '*', 'a', num .. ' ' .. run .. ' ' .. c.now)
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
    move(c, num, '0', '1')
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
  local ok, a, v = pcall(load_asset, c, num, 'p')
  if ok and a and v[2] and a.run == tostring(run) then
    return a, v[2]
  end
  call('RPUSH', key(c, 'damaged'), ref_of(num, run))
  put_aside()
  return nil
end

local function take_delayed(c, out, max)
  local due = call('ZRANGE', key(c, 'delayed'), '-inf', c.now, 'BYSCORE', 'LIMIT', 0, max)
  for _, ref in ipairs(due) do
    local num, run = read_ref(ref)
    local a, record = load_or_put_aside(c, num, run, function()
      call('ZREM', key(c, 'delayed'), ref)
    end)
    if a then
      -- one that somebody died over comes alone, so that it takes nobody along
      local alone = a.deaths ~= '0'
      if alone and #out > 0 then
        return true
      end
      call('XADD', key(c, 'again'), '*', 'a', num .. ' ' .. run)
      local read = call('XREADGROUP', 'GROUP', GROUP, c.me, 'COUNT', 1, 'STREAMS', key(c, 'again'), '>')
      call('ZREM', key(c, 'delayed'), ref)
      c.delayed = c.delayed - 1
      take(c, num, a, 'a' .. read[1][2][1][1], out, record)
      if alone then
        return true
      end
    end
  end
  return false
end

local function take_queued(c, out, max)
  local read = call('XREADGROUP', 'GROUP', GROUP, c.me, 'COUNT', max, 'STREAMS', key(c, 'queue'), '>')
  for _, entry in ipairs(read and read[1][2] or {}) do
    local id, num, run = entry[1], match(entry[2][2], '^(%d+) (%d+)')
    local a, record = load_or_put_aside(c, num, run, function()
      c.acks.q[#c.acks.q + 1] = id
    end)
    if a then
      take(c, num, a, 'q' .. id, out, record)
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
  end
  local share = 1 + floor((c.queued + c.delayed) / SHARE)
  max = math.min(tonumber(max), share)
  local out, alone = {}, false
  if c.delayed > 0 then
    alone = take_delayed(c, out, max)
  end
  if not alone and #out / 3 < max and c.queued > 0 then
    take_queued(c, out, max - #out / 3)
  end
  local next = '0'
  if #out == 0 and c.delayed > 0 then
    next = call('ZRANGE', key(c, 'delayed'), 0, 0, 'WITHSCORES')[2] or '0'
  end
  return { 'c', next, out }
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

local function end_old_leases(c)
  for _, ref in ipairs(call('ZRANGE', key(c, 'leased'), '-inf', c.now, 'BYSCORE', 'LIMIT', 0, 1000)) do
    unlease(c, ref)
  end
end

local function first_score(k)
  return tonumber(call('ZRANGE', k, 0, 0, 'WITHSCORES')[2])
end

-- max, length of the lease
function steps.L(c, max, lease_ms)
  flush_events(c)
  end_old_leases(c)
  local refs = call('ZRANGE', key(c, 'due'), '-inf', c.now, 'BYSCORE', 'LIMIT', 0, max)
  local out, leases = {}, {}
  local until_ms = fmt('%.0f', tonumber(c.now) + tonumber(lease_ms))
  for _, ref in ipairs(refs) do
    local num, run, terminal = read_event_ref(ref)
    local v = call('HMGET', key(c, 'a:' .. num), event_field(run, terminal), 'p', 'x' .. run)
    if v[1] and v[2] then
      c.fresh[ref], c.reported[ref] = true, nil
      leases[#leases + 1] = until_ms
      leases[#leases + 1] = ref
      out[#out + 1] = ref
      out[#out + 1] = v[1]
      out[#out + 1] = v[2]
      out[#out + 1] = terminal and v[3] or ''
    end
  end
  if #refs > 0 then
    call_many('ZREM', key(c, 'due'), refs)
    call_many('ZADD', key(c, 'leased'), leases)
    call_many('SADD', key(c, 'held:' .. c.me), refs)
  end
  local next = '0'
  if #out == 0 then
    local due, leased = first_score(key(c, 'due')), first_score(key(c, 'leased'))
    if due or leased then
      next = fmt('%.0f', math.min(due or leased, leased or due))
    end
  end
  return { 'v', next, out }
end

local function set_event_state(c, ref, e, state)
  count(c, 'ev' .. e.state, -1)
  count(c, 'ev' .. state, 1)
  if e.state == '3' then
    call('ZREM', key(c, 'dead'), ref)
  end
  if state == '3' then
    call('ZADD', key(c, 'dead'), 0, ref)
  end
  e.state = state
end

-- An attempt of which nothing but this is to be told.
local function pack_attempt(e)
  return struct.pack('<I8I4I4I2I2', tonumber(e.last), tonumber(e.status), tonumber(e.duration), 65535, 65535)
end

-- The log of an event with one more attempt: of many, the newest. See attempt_log.h.
local function add_attempt(log, attempt)
  log = (log or '') .. attempt
  local starts, at = {}, 1
  while at + 19 <= #log do
    starts[#starts + 1] = at
    local a, b, x, y = string.byte(log, at + 16, at + 19)
    local error_len, answer_len = a + 256 * b, x + 256 * y
    at = at + 20 + (error_len == 65535 and 0 or error_len) + (answer_len == 65535 and 0 or answer_len)
  end
  if #starts > ATTEMPTS_MAX then
    log = sub(log, starts[#starts - ATTEMPTS_MAX + 1])
  end
  return log
end

-- whether the process holds it, number, run, terminal ("1"), state, attempted, next, status, duration, error, attempt for the log
function steps.D(c, held, num, run, terminal, state, attempted, next, status, duration, error_, attempt)
  terminal = terminal == '1'
  local field, log = event_field(run, terminal), 'l' .. run .. (terminal and 't' or 's')
  local other = terminal and 's' or event_field(run, true)
  local v = call('HMGET', key(c, 'a:' .. num), field, other, log)
  if not v[1] then
    return LOST
  end
  local e = read_event(v[1])
  if e.state ~= '1' then
    return LOST
  end
  local ref = event_ref(num, run, terminal)
  -- what one batch leases, and then settles, nobody holds yet; who settles it twice held it once
  if (held == '0' and not c.fresh[ref]) or c.reported[ref] then
    return LOST
  end
  c.fresh[ref], c.reported[ref] = nil, held
  local waiting = not terminal and v[2] and read_event(v[2])
  c.settled[#c.settled + 1] = ref
  set_event_state(c, ref, e, state)
  e.due = state == '1' and next or c.now
  local fields = { field, false }
  if attempted == '1' then
    e.attempts = tonumber(e.attempts) + 1
    e.last, e.status, e.duration, e.error = c.now, status, duration, error_
    if attempt == '' and v[3] then
      attempt = pack_attempt(e)
    end
    if attempt ~= '' then
      fields[3], fields[4] = log, add_attempt(v[3], attempt)
    end
  end
  fields[2] = write_event(e)
  if state == '1' then
    add_due(c, e.due, ref)
  end
  -- started's first attempt is over, or none will be made: the ending may go
  if waiting and waiting.state == '0' and not (tonumber(e.attempts) == 0 and state == '1') then
    local ending = event_ref(num, run, true)
    set_event_state(c, ending, waiting, '1')
    waiting.due = c.now
    fields[#fields + 1] = other
    fields[#fields + 1] = write_event(waiting)
    add_due(c, c.now, ending)
  end
  call('HSET', key(c, 'a:' .. num), unpack(fields))
  return DONE
end

local function resend(c, num, run, terminal, e, log)
  local ref = event_ref(num, run, terminal)
  local fields = { event_field(run, terminal), false }
  if not log and e.attempts ~= '0' then -- a single one that needed no log
    fields[3] = 'l' .. run .. (terminal and 't' or 's')
    fields[4] = pack_attempt(e)
  end
  set_event_state(c, ref, e, '1')
  e.due, e.attempts, e.last, e.status, e.duration, e.error = c.now, 0, 0, 0, 0, ''
  fields[2] = write_event(e)
  call('HSET', key(c, 'a:' .. num), unpack(fields))
  add_due(c, c.now, ref)
  c.work = true
end

-- number, run, notify of one; or "", "", max and before of dead ones
function steps.N(c, num, run, notify, max, before)
  flush_events(c)
  if num ~= '' then
    local terminal = notify ~= '0'
    local letter = terminal and 't' or 's'
    local v = call('HMGET', key(c, 'a:' .. num), 'e' .. run .. letter, 'l' .. run .. letter)
    local e = v[1] and read_event(v[1])
    if not e or e.notify ~= notify then
      return 'n0'
    end
    if e.state ~= '2' and e.state ~= '3' then
      return 'l0'
    end
    resend(c, num, run, terminal, e, v[2])
    return 'd1'
  end
  local n, last = 0, '-'
  max = tonumber(max)
  while n < max do
    local refs = call('ZRANGE', key(c, 'dead'), last, '+', 'BYLEX', 'LIMIT', 0, 100)
    for _, ref in ipairs(refs) do
      last = '(' .. ref
      local n_, r_, terminal = read_event_ref(ref)
      local letter = terminal and 't' or 's'
      local v = call('HMGET', key(c, 'a:' .. n_), 'e' .. r_ .. letter, 'l' .. r_ .. letter)
      local e = v[1] and read_event(v[1])
      if not e then
        call('ZREM', key(c, 'dead'), ref)
      elseif n < max and (before == '0' or tonumber(e.created) < tonumber(before)) then
        resend(c, n_, r_, terminal, e, v[2])
        n = n + 1
      end
    end
    if #refs < 100 then
      break
    end
  end
  return (n > 0 and 'd' or 'n') .. n
end

local function prune_one(c, num, state)
  local k = key(c, 'a:' .. num)
  local all = call('HGETALL', k)
  for i = 1, #all, 2 do
    local run, letter = match(all[i], '^e(%d+)([st])$')
    if run then
      local ok, e = pcall(read_event, all[i + 1])
      local ref = event_ref(num, run, letter == 't')
      if ok then
        count(c, 'ev' .. e.state, -1)
        if e.state == '1' then
          call('ZREM', key(c, 'due'), ref)
          call('ZREM', key(c, 'leased'), ref)
        elseif e.state == '3' then
          call('ZREM', key(c, 'dead'), ref)
        end
      end
    end
  end
  call('UNLINK', k)
  move(c, num, state, nil)
  count(c, 'pruned', 1)
end

local function prune_feed(c, before)
  local n = 0
  local old = call('XRANGE', key(c, 'feed'), '-', '+', 'COUNT', OTHERS_MAX)
  for _, entry in ipairs(old) do
    if tonumber(entry[2][2]) >= before then
      break
    end
    call('XDEL', key(c, 'feed'), entry[1])
    n = n + 1
  end
  return n
end

local function prune_keys(c)
  local before = fmt('%.0f', tonumber(c.now) - IDEMPOTENCY_MS)
  local old = call('ZRANGE', key(c, 'idems'), '-inf', before, 'BYSCORE', 'LIMIT', 0, OTHERS_MAX)
  for _, member in ipairs(old) do
    local name, num = match(member, '^(%S+) (%d+)$')
    local kept = call('GET', key(c, 'idem:' .. name))
    if kept and match(kept, '^%d+ (%d+) ') == num then -- else it was used anew
      call('DEL', key(c, 'idem:' .. name))
    end
    call('ZREM', key(c, 'idems'), member)
  end
  return #old
end

-- before, max
function steps.X(c, before, max)
  flush(c)
  before, max = tonumber(before), tonumber(max)
  local n = 0
  for _, state in ipairs({ '2', '3' }) do
    local last, looking, seen = '-inf', true, 0
    while looking and n < max and seen < 20000 do
      local nums = call('ZRANGE', key(c, 'in:' .. state), last, '+inf', 'BYSCORE', 'LIMIT', 0, 100)
      looking = #nums == 100
      for _, num in ipairs(nums) do
        last = '(' .. num
        seen = seen + 1
        local ok, a = pcall(load_asset, c, num)
        -- nothing ends before it was accepted
        if ok and a and tonumber(a.accepted) >= before then
          looking = false
          break
        end
        if n < max and ok and a and tonumber(a.ended) < before then
          prune_one(c, num, state)
          n = n + 1
        end
      end
    end
    flush_moves(c)
  end
  local entries = prune_feed(c, before) + prune_keys(c)
  return ((n > 0 or entries > 0) and 'd' or 'n') .. n
end

-- ring, slot, sample
function steps.M(c, ring, slot, sample)
  call('HSET', key(c, 'ring:' .. ring), slot, sample)
  return DONE
end

local ARGS = { P = 4, T = 2, C = 2, F = 6, R = 4, L = 2, D = 11, N = 5, X = 2, M = 3 }

local function words_of(err)
  return type(err) == 'table' and err.err or tostring(err)
end

-- KEYS[1]: PREFIX without its colon. ARGV: number of the calling process, now, most that may be queued,
-- then each step: its letter and its arguments. Answers one element a step, and publishes that there is
-- work, or that assets changed their state.
local function apply(keys, args)
  local c = { prefix = keys[1] .. ':', me = args[1], now = args[2], max_queued = tonumber(args[3]),
              counts = {}, moved = {}, due = {}, settled = {}, feed = {}, acks = { q = {}, a = {} },
              reported = {}, fresh = {} }
  c.accepted = tonumber(call('HGET', key(c, 'count'), 'accepted') or 0)
  c.queued = call('ZCARD', key(c, 'in:0'))
  c.delayed = call('ZCARD', key(c, 'delayed'))
  if call('EXISTS', key(c, 'meta')) == 0 then
    return redis.error_reply('GONE the store is not there any more')
  end
  local answers, i = {}, 4
  while i <= #args do
    local kind = args[i]
    local n = ARGS[kind]
    local ok, answer = pcall(steps[kind], c, unpack(args, i + 1, i + n))
    answers[#answers + 1] = ok and answer or 'e' .. words_of(answer)
    i = i + n + 1
  end
  flush(c)
  if c.work then
    call('SPUBLISH', key(c, 'work'), '1')
  end
  if c.told then
    call('SPUBLISH', key(c, 'told'), '1')
  end
  return answers
end

-- ---- what is no step ----

-- ARGV: version of the data, random key. Makes the store if there is none. Answers version, key,
-- number of the caller's process.
local function open(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local meta = key(c, 'meta')
  if call('HSETNX', meta, 'version', args[1]) == 1 then
    call('HSET', meta, 'key', args[2])
  end
  for _, stream in pairs(STREAMS) do
    local made = redis.pcall('XGROUP', 'CREATE', key(c, stream), GROUP, '0', 'MKSTREAM')
    if type(made) == 'table' and made.err and not match(made.err, 'BUSYGROUP') then
      return made
    end
    -- processes that are long gone
    for _, consumer in ipairs(call('XINFO', 'CONSUMERS', key(c, stream), GROUP)) do
      local info = {}
      for i = 1, #consumer, 2 do
        info[consumer[i]] = consumer[i + 1]
      end
      if info.pending == 0 and info.idle > 24 * 3600 * 1000 then
        call('XGROUP', 'DELCONSUMER', key(c, stream), GROUP, info.name)
      end
    end
  end
  local me = call('HINCRBY', meta, 'process', 1)
  call('ZADD', key(c, 'beat'), fmt('%.0f', server_ms()), fmt('%.0f', me))
  return { call('HGET', meta, 'version'), call('HGET', meta, 'key'), me }
end

-- ARGV: number of the process, its lease (0: it claims nothing), then REFs. Says that it lives and still has these.
local function renew(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local me, lease, ids = args[1], args[2], { q = {}, a = {} }
  if lease ~= '0' then
    declare_lease(c, me, lease)
  end
  call('ZADD', key(c, 'beat'), fmt('%.0f', server_ms()), me)
  local lost = 0
  for i = 3, #args do
    local num, run = read_ref(args[i])
    local ok, a = pcall(load_asset, c, num)
    local letter, id, owner
    if ok and a and a.state == '1' and a.run == tostring(run) then
      letter, id, owner = match(a.holder, '^([qa])(%d+%-%d+)@(.+)$')
    end
    if owner == me then
      ids[letter][#ids[letter] + 1] = id
    else
      lost = lost + 1
    end
  end
  for letter, list in pairs(ids) do
    for first = 1, #list, 1000 do
      local part = { unpack(list, first, math.min(first + 999, #list)) }
      part[#part + 1] = 'JUSTID'
      call('XCLAIM', key(c, STREAMS[letter]), GROUP, me, 0, unpack(part))
    end
  end
  return lost
end

-- ARGV: number of the process, how many REFs, the REFs, then EVENTs. It ends, or has lost its memory:
-- all that it holds may be claimed and leased at once.
local function void(keys, args)
  local c = { prefix = keys[1] .. ':', acks = { q = {}, a = {} }, delayed = 0 }
  local me, refs = args[1], tonumber(args[2])
  for i = 3, 2 + refs do
    local num, run = read_ref(args[i])
    local ok, a = pcall(load_asset, c, num)
    if ok and a and a.state == '1' and a.run == tostring(run) and match(a.holder, '@(.+)$') == me then
      let_go(c, num, a)
      a.holder = 'w'
      call('HSET', key(c, 'a:' .. num), 's', write_asset(a))
      delay(c, num, a, 0)
      call('HINCRBY', key(c, 'count'), 'rescued', 1)
    end
  end
  flush_acks(c)
  for i = 3 + refs, #args do
    unlease(c, args[i])
  end
  call('DEL', key(c, 'held:' .. me))
  call('ZREM', key(c, 'beat'), me)
  for _, lease in ipairs(call('ZRANGE', key(c, 'leases'), 0, -1)) do
    if match(lease, '^(%S+)') == me then
      call('ZREM', key(c, 'leases'), lease)
    end
  end
  for _, stream in pairs(STREAMS) do
    local pending = call('XPENDING', key(c, stream), GROUP, '-', '+', 1, me)
    if #pending == 0 then
      call('XGROUP', 'DELCONSUMER', key(c, stream), GROUP, me)
    end
  end
  call('SPUBLISH', key(c, 'work'), '1')
  return 'd'
end

-- ---- reading ----

local function stats(keys)
  local c = { prefix = keys[1] .. ':' }
  local out = { {}, call('HGETALL', key(c, 'count')), '0' }
  for state = 0, 3 do
    out[1][state + 1] = call('ZCARD', key(c, 'in:' .. state))
  end
  if out[1][1] > 0 then
    for _, group in ipairs(call('XINFO', 'GROUPS', key(c, 'queue'))) do
      local info = {}
      for i = 1, #group, 2 do
        info[group[i]] = group[i + 1]
      end
      if info.name == GROUP then
        local first = call('XRANGE', key(c, 'queue'), '(' .. info['last-delivered-id'], '+', 'COUNT', 1)[1]
        out[3] = first and match(first[2][2], ' (%d+)$') or '0'
      end
    end
  end
  return out
end

-- Numbers below `below` in these states ("0123"), newest first, at most limit.
local function newest(c, states, below, limit)
  local lists, at, out = {}, {}, {}
  for state in string.gmatch(states, '%d') do
    lists[#lists + 1] = call('ZRANGE', key(c, 'in:' .. state), '(' .. below, '-inf', 'BYSCORE', 'REV', 'LIMIT',
                             0, limit)
    at[#lists] = 1
  end
  while #out < limit do
    local best, which = -1, nil
    for i, list in ipairs(lists) do
      local num = list[at[i]] and tonumber(list[at[i]])
      if num and num > best then
        best, which = num, i
      end
    end
    if not which then
      break
    end
    out[#out + 1] = lists[which][at[which]]
    at[which] = at[which] + 1
  end
  return out
end

-- ARGV: states, below, limit, examine, code ("": any), path record ("": any; what p begins with), since,
-- until. Answers how many were examined, the number behind which to go on ("": there is nothing more), and
-- number, s, p, errors, report of each found.
local function list(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local states, below, limit, examine = args[1], args[2], tonumber(args[3]), tonumber(args[4])
  local code, path, since, until_ms = args[5], args[6], tonumber(args[7]), tonumber(args[8])
  local found, n, last = {}, 0, ''
  local nums = newest(c, states, below, examine + 1)
  for i, num in ipairs(nums) do
    if i > examine then
      return { examine, nums[examine], found }
    end
    local ok, a, v = pcall(load_asset, c, num, 'p')
    if ok and a then
      local accepted = tonumber(a.accepted)
      if since > 0 and accepted < since then
        return { i, '', found }
      end
      if (until_ms == 0 or accepted < until_ms)
          and (code == '' or (a.state == '3' and floor(tonumber(a.codes) / 2 ^ tonumber(code)) % 2 == 1))
          and (path == '' or sub(v[2] or '', 1, #path) == path) then
        if n == limit then
          return { i, last, found }
        end
        local ended = a.state >= '2'
        local more = ended and call('HMGET', key(c, 'a:' .. num), 'x' .. a.run, 'r' .. a.run) or {}
        n, last = n + 1, num
        for _, value in ipairs({ num, write_asset(a), v[2] or '', more[1] or '', more[2] or '' }) do
          found[#found + 1] = value
        end
      end
    end
  end
  return { #nums, '', found }
end

-- The EVENTs of one asset, newest first.
local function events_of(c, num)
  local refs = {}
  for _, field in ipairs(call('HKEYS', key(c, 'a:' .. num))) do
    local run, letter = match(field, '^e(%d+)([st])$')
    if run then
      refs[#refs + 1] = event_ref(num, run, letter == 't')
    end
  end
  table.sort(refs, function(x, y) return x > y end)
  return refs
end

-- ARGV: states of events ("0123…"), EVENT below which, limit, assets to examine. Answers how many were
-- examined, the EVENT behind which to go on ("": there is nothing more), and EVENT, e and p of each found.
local function events(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local wanted, below, limit, examine = args[1], args[2], tonumber(args[3]), tonumber(args[4])
  local found, n, last = {}, 0, ''
  local function see(ref) -- true: the page is full
    local num, run, terminal = read_event_ref(ref)
    local v = call('HMGET', key(c, 'a:' .. num), event_field(run, terminal), 'p')
    if v[1] and string.find(wanted, sub(v[1], 1, 1), 1, true) then
      if n == limit then
        return true
      end
      n, last = n + 1, ref
      for _, value in ipairs({ ref, v[1], v[2] or '' }) do
        found[#found + 1] = value
      end
    end
    return false
  end
  if wanted == '3' then
    local refs = call('ZRANGE', key(c, 'dead'), '(' .. below, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit + 1)
    for _, ref in ipairs(refs) do
      if see(ref) then
        return { #refs, last, found }
      end
    end
    return { #refs, '', found }
  end
  local nums = newest(c, '0123', fmt('%.0f', tonumber(sub(below, 1, 12), 16) + 1), examine + 1)
  for i, num in ipairs(nums) do
    if i > examine then
      return { examine, event_ref(nums[examine], 0, false), found }
    end
    for _, ref in ipairs(events_of(c, num)) do
      if ref < below and see(ref) then
        return { i, last, found }
      end
    end
  end
  return { #nums, '', found }
end

-- ARGV: after, limit. Answers first and last number kept, then per entry: last number, time, changes.
local function feed(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local last = call('HGET', key(c, 'count'), 'feed') or '0'
  local oldest = call('XRANGE', key(c, 'feed'), '-', '+', 'COUNT', 1)[1]
  local first = fmt('%.0f', tonumber(last) + 1)
  if oldest then
    local _, n = string.gsub(oldest[2][4], ';', ';')
    first = fmt('%.0f', tonumber(match(oldest[1], '^%d+')) - n)
  end
  local out, n, after, limit = {}, 0, tonumber(args[1]), tonumber(args[2])
  local from = fmt('%.0f-0', after + 1)
  while n < limit do
    local entries = call('XRANGE', key(c, 'feed'), from, '+', 'COUNT', 50)
    for _, entry in ipairs(entries) do
      local changes = {}
      for change in string.gmatch(entry[2][4], '[^;]+') do
        changes[#changes + 1] = change
      end
      local seq = tonumber(match(entry[1], '^%d+')) - #changes
      for _, change in ipairs(changes) do
        seq = seq + 1
        if seq > after and n < limit then
          local num, run, state = match(change, '^(%d+) (%d+) (%d)$')
          n = n + 1
          out[#out + 1] = fmt('%.0f', seq) .. ' ' .. entry[2][2] .. ' ' .. change
          out[#out + 1] = state == '3' and call('HGET', key(c, 'a:' .. num), 'x' .. run) or ''
        end
      end
      from = '(' .. entry[1]
    end
    if #entries < 50 then
      break
    end
  end
  return { first, last, out }
end

local function register(name, callback, flags)
  redis.register_function({
    function_name = NAME .. '_' .. name,
    callback = function(keys, args)
      call, fmt, match, sub, floor = redis.call, string.format, string.match, string.sub, math.floor
      return callback(keys, args)
    end,
    flags = flags,
  })
end
register('apply', apply, {})
register('apply_full', apply, { 'allow-oom' }) -- without steps that need room
register('open', open, {})
register('renew', renew, { 'allow-oom' })
register('void', void, { 'allow-oom' })
register('stats', stats, { 'no-writes' })
register('list', list, { 'no-writes' })
register('events', events, { 'no-writes' })
register('feed', feed, { 'no-writes' })
