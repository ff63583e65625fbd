--- The front page, tags and search: one grid, whose address is its state.
local pagination = require "footlight.pagination"
local regions = require "site.regions"
local rooms = require "store.rooms"
local router = require "footlight.router"
local live = require "site.live"
local present = require "site.present"

local PAGE = 48
local TAGS = 8       -- in the row of filters
local QUERY = 100    -- code points

-- Longest on stage first: an order that does not jump while somebody reads it.
local function by_time(a, b)
  if a.since ~= b.since then return a.since < b.since end
  return a.slug < b.slug
end

local function split(rows, req)
  local now = live.all()
  local on, off = {}, {}
  for _, row in ipairs(rows) do
    if regions.bar_room(req, row) then goto continue end
    local room = present.room(row, now[row.slug], req)
    local list = (room.live or room.starting) and on or off
    list[#list + 1] = room
    ::continue::
  end
  table.sort(on, by_time)
  return on, off
end

-- The tags of what is live, most used first.
local function popular(list)
  local counts, names = {}, {}
  for _, room in ipairs(list) do
    for _, tag in ipairs(room.tags) do
      if not counts[tag] then names[#names + 1] = tag end
      counts[tag] = (counts[tag] or 0) + 1
    end
  end
  table.sort(names, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  for i = #names, TAGS + 1, -1 do names[i] = nil end
  return names
end

local function filters(t, tags, current)
  local list = {
    { href = "/", label = t("home.all"), current = current == "all" },
    { href = "/?show=free", label = t("home.free"), current = current == "free" },
  }
  local seen = false
  for _, tag in ipairs(tags) do
    seen = seen or current == "#" .. tag
    list[#list + 1] = { href = "/tags/" .. router.encode(tag, ""), label = "#" .. tag,
      current = current == "#" .. tag }
  end
  local chosen = current:match("^#(.+)$")
  if chosen and not seen then
    list[#list + 1] = { href = "/tags/" .. router.encode(chosen, ""), label = current,
      current = true }
  end
  return list
end

local function only(list, keep)
  local kept = {}
  for _, room in ipairs(list) do
    if keep(room) then kept[#kept + 1] = room end
  end
  return kept
end

local function has_tag(room, tag)
  for _, each in ipairs(room.tags) do
    if each == tag then return true end
  end
  return false
end

-- One page of the live ones and then the others, as if they were one list.
local function cut(req, on, off)
  local pages = pagination.read(req, { size = PAGE, most = 200 })
  pages:finish(#on + #off)
  local shown_on, shown_off = {}, {}
  for i = pages.offset + 1, math.min(pages.offset + PAGE, #on + #off) do
    if i <= #on then
      shown_on[#shown_on + 1] = on[i]
    else
      shown_off[#shown_off + 1] = off[i - #on]
    end
  end
  return shown_on, shown_off, pages.pages > 1 and pages or nil
end

local function show(req, options)
  local t = req.t
  local all_on, all_off = split(options.rows, req)
  local tags = popular(#all_on > 0 and all_on or all_off)
  local on, off = all_on, all_off
  if options.keep then on, off = only(on, options.keep), only(off, options.keep) end
  local found = #on + #off
  local live_now = #on
  local pager
  on, off, pager = cut(req, on, off)
  local empty = { tags = tags, title = t("home.empty_title"), text = t("home.empty_text") }
  if options.search then
    empty.title, empty.text = t("home.empty_search_title"), t("home.empty_search_text")
  elseif options.keep then
    empty.text = t("home.empty_filter_text")
  end
  return req:render("site/home", {
    hero = options.hero and not req.account,
    heading = options.heading, canonical = options.canonical,
    count_text = options.search and t("home.results", { count = found })
      or t("home.count", { count = live_now }),
    filters = filters(t, tags, options.current), live = on, dark = off, empty = empty,
    pager = pager,
  })
end

return function(site)
  site:get("/", { name = "home" }, function(req)
    local free = req.query.show == "free"
    return show(req, {
      rows = rooms.listed(), heading = req.t("home.live"), hero = true,
      current = free and "free" or "all", canonical = present.site().url .. "/",
      keep = free and function(room) return room.rate == 0 end or nil,
    })
  end)

  site:get("/tags/:tag", { name = "tag" }, function(req)
    local tag = req.params.tag:lower()
    if utf8.len(tag) > 30 then req:not_found() end
    return show(req, {
      rows = rooms.listed(), heading = req.t("home.tag", { tag = tag }), current = "#" .. tag,
      canonical = present.site().url .. "/tags/" .. router.encode(tag, ""),
      keep = function(room) return has_tag(room, tag) end,
    })
  end)

  site:get("/search", { name = "search" }, function(req)
    local query = (req.query.q or ""):match("^%s*(.-)%s*$")
    if (utf8.len(query) or math.huge) > QUERY then req:bad_request("the query is too long") end
    local tag = query:match("^#([%w-]+)$")
    if tag then return req:redirect("/tags/" .. router.encode(tag:lower(), "")) end
    return show(req, {
      rows = query == "" and rooms.listed() or rooms.search(query), search = true,
      heading = query == "" and req.t("home.search_all")
        or req.t("home.search", { query = query }),
      current = "search",
    })
  end)
end
