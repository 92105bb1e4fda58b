-- The second part of the Redis engine's library (redis.lua is the first, redis_more.lua the third): the steps
-- of webhook events, pruning, samples.

local function first_score(k)
  return tonumber(call('ZRANGE', k, 0, 0, 'WITHSCORES')[2] or math.huge)
end

-- Answers when the next lease ends.
local function end_old_leases(c)
  local first = first_score(key(c, 'leased'))
  if first > tonumber(c.now) then
    return first
  end
  for _, ref in ipairs(call('ZRANGE', key(c, 'leased'), '-inf', c.now, 'BYSCORE', 'LIMIT', 0, 1000)) do
    unlease(c, ref)
  end
  return first_score(key(c, 'leased'))
end

-- max, length of the lease
function steps.L(c, max, lease_ms)
  flush_events(c)
  local ends = end_old_leases(c)
  local refs = call('ZRANGE', key(c, 'due'), '-inf', c.now, 'BYSCORE', 'LIMIT', 0, max)
  local out, leases = {}, {}
  local until_ms = fmt('%.0f', tonumber(c.now) + tonumber(lease_ms))
  for _, ref in ipairs(refs) do
    local num, run, terminal = read_event_ref(ref)
    local v = call('HMGET', key(c, 'a:' .. num), event_field(run, terminal), 'x' .. run)
    local record = v[1] and load_record(c, num)
    if record then
      c.fresh[ref], c.reported[ref] = true, nil
      leases[#leases + 1] = until_ms
      leases[#leases + 1] = ref
      out[#out + 1] = ref
      out[#out + 1] = v[1]
      out[#out + 1] = record
      out[#out + 1] = terminal and v[2] or ''
    end
  end
  if #refs > 0 then
    call_many('ZREM', key(c, 'due'), refs)
    call_many('ZADD', key(c, 'leased'), leases)
    call_many('SADD', key(c, 'held:' .. c.me), refs)
  end
  local next = math.huge
  if #refs < tonumber(max) then
    next = math.min(first_score(key(c, 'due')), ends, #leases > 0 and tonumber(until_ms) or next)
  end
  return { 'v', next < math.huge and fmt('%.0f', next) or '0', out }
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
  call('UNLINK', k, key(c, 'p:' .. num))
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
