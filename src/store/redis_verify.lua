-- The fourth part of the Redis engine's library: proofs that what is kept adds up (redis_verify.c). Each call
-- looks at a part that fits together, so that others are never kept waiting, and the store may be in use.

-- In the order of redis_verify.c.
local RECORD, LISTED, RESULT, ENDING, START, EARLY, WAITS, DUE, LOG, HELD, QUEUE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11

local function usable(a, i)
  local url = sub(a.urls, i, i)
  return url == '1' or url == '4'
end

-- Whether the field e of an event is there if it has to be, and of the right kind.
local function right_event(e, wanted, notify)
  return (e ~= nil) == wanted and (not e or match(e, '^%d (%d) ') == notify)
end

local function check_event(c, num, a, f, run, letter, e, against)
  local ref = event_ref(num, run, letter == 't')
  local waits = call('ZSCORE', key(c, 'due'), ref) and 1 or 0
  waits = waits + (call('ZSCORE', key(c, 'leased'), ref) and 1 or 0)
  local dead = call('ZSCORE', key(c, 'dead'), ref) and true or false
  if waits ~= (e.state == '1' and 1 or 0) or dead ~= (e.state == '3') then
    against(DUE)
  end
  if e.state == '0' and (letter == 's' or not match(f['e' .. run .. 's'] or '', '^1 0 %-?%d+ 0 ')) then
    against(WAITS)
  end
  local n = tonumber(run) - tonumber(a.run)
  if n > 0 or (n == 0 and (a.state == '0' or (a.state == '1' and letter == 't'))) then
    against(EARLY)
  end
end

local function check_results(a, f, against)
  local over = tonumber(a.run) - (a.state < '2' and 1 or 0)
  local n = 0
  for field in pairs(f) do
    local run = match(field, '^r(%d+)$')
    if run then
      n = n + 1
      if tonumber(run) < 1 or tonumber(run) > over then
        against(RESULT)
      end
    end
  end
  if n < over then
    against(RESULT)
  end
end

local function is_held(c, num, a)
  if a.state ~= '1' then
    return a.holder == '-'
  end
  if a.holder == 'w' then
    return call('ZSCORE', key(c, 'later'), ref_of(num, a.run))
  end
  local letter, id, process = match(a.holder, '^([qa])(%d+%-%d+)@(.+)$')
  local pending = letter and call('XPENDING', key(c, STREAMS[letter]), GROUP, id, id, 1)[1]
  return pending and pending[2] == process
end

-- The new are in no list; all others in that of their state.
local function is_listed(c, num, a, taken)
  local listed = (a.new or false) == (tonumber(num) > taken)
  for state = 0, 3 do
    local score = call('ZSCORE', key(c, 'in:' .. state), num)
    listed = listed and (score and true or false) == (not a.new and a.state == tostring(state))
                    and (not score or score == num)
  end
  return listed
end

local function check_asset(c, num, taken, events, against)
  local all, f = call('HGETALL', key(c, 'a:' .. num)), {}
  for i = 1, #all, 2 do
    f[all[i]] = all[i + 1]
  end
  local ok, a = pcall(load_asset, c, num)
  local record = load_record(c, num)
  if not ok or not a or not record then
    against(RECORD)
    return ''
  end
  if not is_listed(c, num, a, taken) then
    against(LISTED)
  end
  for field, value in pairs(f) do
    local run, letter = match(field, '^e(%d+)([st])$')
    if run then
      local read, e = pcall(read_event, value)
      if read then
        events[e.state + 1] = events[e.state + 1] + 1
        check_event(c, num, a, f, run, letter, e, against)
      else
        against(RECORD)
      end
    end
    run, letter = match(field, '^l(%d+)([st])$')
    if run and not f['e' .. run .. letter] then
      against(LOG)
    end
  end
  local state = tonumber(a.state)
  if state >= 2 and not right_event(f[event_field(a.run, true)], usable(a, state), tostring(state - 1)) then
    against(ENDING)
  end
  if state >= 1 and not right_event(f[event_field(a.run, false)], usable(a, 1), '0') then
    against(START)
  end
  check_results(a, f, against)
  if not is_held(c, num, a) then
    against(HELD)
  end
  return record
end

-- ARGV: number below which, how many. Answers the last number seen ("": there are no more), how many assets
-- were seen, events by state, "fact number" of all that speaks against something, and number and p of each.
local function verify_assets(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local nums, events, faults, puts = newest(c, '0123', args[1], tonumber(args[2])), { 0, 0, 0, 0, 0 }, {}, {}
  local _, taken = last_numbers(c)
  for _, num in ipairs(nums) do
    puts[#puts + 1] = num
    puts[#puts + 1] = check_asset(c, num, taken, events, function(fact)
      faults[#faults + 1] = fact .. ' ' .. num
    end)
  end
  return { #nums == tonumber(args[2]) and nums[#nums] or '', #nums, events, faults, puts }
end

-- ARGV: entry behind which, how many. Of the queue, what nobody has taken yet. Answers the last entry seen
-- ("": there are no more), "fact number" of those that are no queued asset's.
local function verify_queue(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local from, taken, faults = args[1], '0-0', {}
  for _, group in ipairs(call('XINFO', 'GROUPS', key(c, 'queue'))) do
    for i = 1, #group, 2 do
      taken = group[i] == 'last-delivered-id' and group[i + 1] or taken
    end
  end
  local function parts(id)
    local ms, n = match(id, '^(%d+)%-(%d+)$')
    return tonumber(ms), tonumber(n)
  end
  local fms, fn = parts(from)
  local tms, tn = parts(taken)
  if tms > fms or (tms == fms and tn > fn) then -- meanwhile
    from = taken
  end
  local entries = call('XRANGE', key(c, 'queue'), '(' .. from, '+', 'COUNT', args[2])
  for _, entry in ipairs(entries) do
    local num, run = match(entry[2][2], '^(%d+) (%d+)')
    local ok, a = pcall(load_asset, c, num)
    if not (ok and a and a.state == '0' and a.run == run and not a.new) then
      faults[#faults + 1] = QUEUE .. ' ' .. (num or '0')
    end
  end
  return { #entries == tonumber(args[2]) and entries[#entries][1] or '', faults }
end

-- ARGV: entry from which ("-": the first), the number that came before it ("": nobody knows), how many.
-- Answers where to go on ("": there are no more), the number before that, gaps.
local function verify_feed(keys, args)
  local c = { prefix = keys[1] .. ':' }
  local before, gaps, last = tonumber(args[2]), 0, nil
  local oldest = call('XRANGE', key(c, 'feed'), '-', '+', 'COUNT', 1)[1]
  if oldest and before and tonumber(match(oldest[1], '^%d+')) > before + 1 then
    if tonumber(match(oldest[1], '^%d+')) - count_changes(oldest) > before then
      before = nil -- what lay between was pruned meanwhile
    end
  end
  local entries = call('XRANGE', key(c, 'feed'), args[1], '+', 'COUNT', args[3])
  for _, entry in ipairs(entries) do
    last = tonumber(match(entry[1], '^%d+'))
    if before and last - count_changes(entry) ~= before then
      gaps = gaps + 1
    end
    before = last
  end
  if #entries == tonumber(args[3]) then
    return { '(' .. entries[#entries][1], fmt('%.0f', before), gaps }
  end
  if before and before ~= tonumber(call('HGET', key(c, 'count'), 'feed') or 0) then
    gaps = gaps + 1
  end
  return { '', '', gaps }
end

-- Answers what is counted, of one moment: accepted, pruned, assets by state (4), events by state (5), assets
-- with a number that was never given out, what waits in the queue (new ones, entries that nobody has taken), entries in again that
-- nobody has taken, events in due and leased, events in dead.
local function verify_counts(keys)
  local c = { prefix = keys[1] .. ':' }
  local function counter(name)
    return tonumber(call('HGET', key(c, 'count'), name) or 0)
  end
  local out, strangers = { counter('accepted'), counter('pruned') }, 0
  local new = counter('accepted') - counter('taken')
  for state = 0, 3 do
    out[#out + 1] = call('ZCARD', key(c, 'in:' .. state)) + (state == 0 and new or 0)
    strangers = strangers + call('ZCOUNT', key(c, 'in:' .. state), '(' .. fmt('%.0f', out[1]), '+inf')
  end
  for state = 0, 4 do
    out[#out + 1] = counter('ev' .. state)
  end
  out[#out + 1] = strangers
  for _, stream in ipairs({ 'queue', 'again' }) do
    local waiting = call('XLEN', key(c, stream)) - call('XPENDING', key(c, stream), GROUP)[1]
    out[#out + 1] = waiting + (stream == 'queue' and new or 0)
  end
  out[#out + 1] = call('ZCARD', key(c, 'due')) + call('ZCARD', key(c, 'leased'))
  out[#out + 1] = call('ZCARD', key(c, 'dead'))
  return out
end

register('verify_assets', verify_assets, { 'no-writes' })
register('verify_queue', verify_queue, { 'no-writes' })
register('verify_feed', verify_feed, { 'no-writes' })
register('verify_counts', verify_counts, { 'no-writes' })
