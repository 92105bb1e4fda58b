-- The third part of the Redis engine's library: a batch, entering and leaving a store, leases, readers.
-- Readers run as no-writes functions, so that they see one moment.

local ARGS = { P = 1, I = 3, T = 2, C = 2, F = 6, R = 4, L = 2, D = 11, N = 5, X = 2, M = 3 }

local function words_of(err)
  return type(err) == 'table' and err.err or tostring(err)
end

-- The last number that was given out, the last one that was claimed, and the last one of the feed.
local function last_numbers(c)
  local v = call('HMGET', key(c, 'count'), 'accepted', 'taken', 'feed')
  return tonumber(v[1] or 0), tonumber(v[2] or 0), tonumber(v[3] or 0)
end

-- KEYS[1]: PREFIX without its colon. ARGV: number of the calling process, now, most that may be queued,
-- then each step: its letter and its arguments. Answers one element a step, and publishes that there is
-- work, or that assets changed their state.
local function apply(keys, args)
  local c = { prefix = keys[1] .. ':', me = args[1], now = args[2], max_queued = tonumber(args[3]),
              counts = {}, moved = {}, due = {}, settled = {}, feed = {}, acks = { q = {}, a = {} },
              reported = {}, fresh = {}, puts = {}, changes = 0 }
  c.put_key = key(c, 'p:')
  c.accepted, c.taken, c.last = last_numbers(c)
  c.fed = c.accepted
  c.requeued = call('ZCARD', key(c, 'in:0'))
  if c.accepted == 0 and call('EXISTS', key(c, 'meta')) == 0 then
    return redis.error_reply('GONE the store is not there any more')
  end
  local answers, i = {}, 4
  while i <= #args do
    local kind = args[i]
    local n = ARGS[kind]
    if kind ~= 'C' then
      c.dry = nil -- a claim that found nothing answers for those right behind it alone
    end
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

-- From version 1, whose new assets are in queue and in:0, and stay there.
local function bring_up_to_date(c, meta)
  if call('HGET', meta, 'version') ~= '1' then
    return
  end
  call('HSET', key(c, 'count'), 'taken', (last_numbers(c)))
  if call('EXISTS', key(c, 'delayed')) == 1 then
    call('RENAME', key(c, 'delayed'), key(c, 'later'))
  end
  call('SET', key(c, 'delayed'), 'version 2')
  call('HSET', meta, 'version', '2')
end

-- ARGV: version of the data, random key. Makes the store if there is none. Answers version, key,
-- number of the caller's process.
local function open(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local meta = key(c, 'meta')
  if call('HSETNX', meta, 'version', args[1]) == 1 then
    call('HSET', meta, 'key', args[2])
  end
  bring_up_to_date(c, meta)
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
  local c = { prefix = keys[1] .. ':', acks = { q = {}, a = {} } }
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
  call('HDEL', key(c, 'procs'), me)
  call('HDEL', key(c, 'want'), me)
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

-- ARGV: number of the process, how long it is listed (ms), what it tells. Answers what is wanted of it, or ''.
local function tell(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local now = server_ms()
  call('HSET', key(c, 'procs'), args[1], fmt('%.0f %s %s', now, args[2], args[3]))
  return call('HGET', key(c, 'want'), args[1]) or ''
end

-- What a process tells, and how long ago (ms); nothing of one that is silent for too long.
local function heard(told, now)
  local seen, ms, words = match(told or '', '^(%d+) (%d+) (.*)$')
  if seen and tonumber(seen) + tonumber(ms) >= now then
    return words, now - tonumber(seen)
  end
end

-- ARGV: number of a process, active threads that are wanted of it. 1, or 0: there is no such process.
local function want(keys, args)
  local c = { prefix = keys[1] .. ':' }
  if not heard(call('HGET', key(c, 'procs'), args[1]), server_ms()) then
    return 0
  end
  call('HSET', key(c, 'want'), args[1], args[2])
  return 1
end

-- ---- reading ----

-- Number, age of the last sign of life (ms), words, and what is wanted ('': nothing) of each process that
-- is not silent for too long.
local function processes(keys)
  local c = { prefix = keys[1] .. ':' }
  local all, now, out = call('HGETALL', key(c, 'procs')), server_ms(), {}
  for i = 1, #all, 2 do
    local words, age = heard(all[i + 1], now)
    if words then
      local wanted = call('HGET', key(c, 'want'), all[i]) or ''
      for _, value in ipairs({ all[i], fmt('%.0f', age), words, wanted }) do
        out[#out + 1] = value
      end
    end
  end
  return out
end

local function stats(keys)
  local c = { prefix = keys[1] .. ':' }
  local out = { {}, call('HGETALL', key(c, 'count')), '0' }
  for state = 0, 3 do
    out[1][state + 1] = call('ZCARD', key(c, 'in:' .. state))
  end
  local oldest
  if out[1][1] > 0 then
    for _, group in ipairs(call('XINFO', 'GROUPS', key(c, 'queue'))) do
      local info = {}
      for i = 1, #group, 2 do
        info[group[i]] = group[i + 1]
      end
      if info.name == GROUP then
        local first = call('XRANGE', key(c, 'queue'), '(' .. info['last-delivered-id'], '+', 'COUNT', 1)[1]
        oldest = first and match(first[2][2], '^%d+ %d+ (%d+)')
      end
    end
  end
  local accepted, taken = last_numbers(c)
  if taken < accepted then
    local put = call('GET', key(c, fmt('p:%.0f', taken + 1)))
    local since = put and match(put, '^%d+ (%d+) ')
    oldest = since and math.min(tonumber(since), tonumber(oldest) or tonumber(since)) or oldest
    out[1][1] = out[1][1] + accepted - taken
  end
  out[3] = fmt('%.0f', tonumber(oldest) or 0)
  return out
end

-- Numbers below `below` in these states ("0123"), newest first, at most limit.
local function newest(c, states, below, limit)
  local lists, at, out = {}, {}, {}
  if string.find(states, '0', 1, true) then -- no other has a higher number than the new ones
    local accepted, taken = last_numbers(c)
    local high = math.min(accepted, tonumber(below) - 1)
    for num = high, math.max(taken, high - limit) + 1, -1 do
      out[#out + 1] = fmt('%.0f', num)
    end
  end
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
    local ok, a = pcall(load_asset, c, num)
    if ok and a then
      local accepted = tonumber(a.accepted)
      if since > 0 and accepted < since then
        return { i, '', found }
      end
      if (until_ms == 0 or accepted < until_ms)
          and (code == '' or (a.state == '3' and floor(tonumber(a.codes) / 2 ^ tonumber(code)) % 2 == 1))
          and (path == '' or sub(load_record(c, num) or '', 1, #path) == path) then
        if n == limit then
          return { i, last, found }
        end
        local ended = a.state >= '2'
        local more = ended and call('HMGET', key(c, 'a:' .. num), 'x' .. a.run, 'r' .. a.run) or {}
        n, last = n + 1, num
        for _, value in ipairs({ num, write_asset(a), load_record(c, num) or '', more[1] or '', more[2] or '' }) do
          found[#found + 1] = value
        end
      end
    end
  end
  return { #nums, '', found }
end

-- ARGV: number. Answers its fields and their values, s and p among them, or nothing.
local function asset(keys, args)
  local c, num = { prefix = keys[1] .. ':' }, args[1]
  local all = call('HGETALL', key(c, 'a:' .. num))
  local a = #all == 0 and load_asset(c, num)
  if a then
    all = { 's', write_asset(a) }
  end
  local record = load_record(c, num)
  if #all > 0 and record then
    all[#all + 1] = 'p'
    all[#all + 1] = record
  end
  return all
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
    local e = call('HGET', key(c, 'a:' .. num), event_field(run, terminal))
    if e and string.find(wanted, sub(e, 1, 1), 1, true) then
      if n == limit then
        return true
      end
      n, last = n + 1, ref
      for _, value in ipairs({ ref, e, load_record(c, num) or '' }) do
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
    first = fmt('%.0f', tonumber(match(oldest[1], '^%d+')) - count_changes(oldest) + 1)
  end
  local out, n, after, limit = {}, 0, tonumber(args[1]), tonumber(args[2])
  local from = fmt('%.0f-0', after + 1)
  while n < limit do
    local entries = call('XRANGE', key(c, 'feed'), from, '+', 'COUNT', 50)
    for _, entry in ipairs(entries) do
      local seq = tonumber(match(entry[1], '^%d+')) - count_changes(entry)
      for num, more, run, state in string.gmatch(entry[2][4], '(%d+)%+?(%d*) (%d+) (%d)') do
        for i = 0, tonumber(more) or 0 do
          seq = seq + 1
          if seq > after and n < limit then
            n = n + 1
            out[#out + 1] = fmt('%.0f %s %.0f %s %s', seq, entry[2][2], num + i, run, state)
            out[#out + 1] = state == '3' and call('HGET', key(c, 'a:' .. num), 'x' .. run) or ''
          end
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
register('tell', tell, { 'allow-oom' })
register('want', want, { 'allow-oom' })
register('processes', processes, { 'no-writes' })
register('stats', stats, { 'no-writes' })
register('asset', asset, { 'no-writes' })
register('list', list, { 'no-writes' })
register('events', events, { 'no-writes' })
register('feed', feed, { 'no-writes' })
