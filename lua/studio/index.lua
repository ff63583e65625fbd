--- The model's studio: how things stand, the broadcast address and key, and the room's settings.
local audit = require "store.audit"
local cache = require "runtime.cache"
local config = require "runtime.config"
local db = require "runtime.db"
local form = require "footlight.form"
local forms = require "site.forms"
local live = require "site.live"
local models = require "store.models"
local outbox = require "store.outbox"
local present = require "site.present"
local rooms = require "store.rooms"
local show_panel = require "studio.show_panel"
local stream_keys = require "store.stream_keys"

local CREDIT = 1000000
local MOST_TAGS = 10

-- "Music, #late-night" → { "music", "late-night" }; nil if one of them is no tag or there are too many.
local function tags_of(text)
  local list, seen = {}, {}
  for part in (text or ""):gmatch("[^,]+") do
    local tag = part:match("^%s*#?(.-)%s*$"):lower():gsub("%s+", "-")
    if tag ~= "" then
      if #tag > 30 or not tag:find("^[a-z0-9][a-z0-9-]*$") then return nil end
      if not seen[tag] then
        seen[tag] = true
        list[#list + 1] = tag
      end
    end
  end
  return #list <= MOST_TAGS and list or nil
end

local room_form = form.define {
  { "title", form.text { max = 100, optional = true } },
  { "tags", form.text { max = 400, optional = true, check = function(text)
    if not tags_of(text) then return "studio.bad_tags" end
  end } },
  { "rate", form.integer { min = 0, max = 10000 } },
  { "bio", form.text { max = 2000, optional = true, lines = true } },
  { "version", form.integer { min = 0, max = 999999999 } },
}

local function model_of(req)
  local model = models.by_account(req.account.id)
  if not model then req:not_found() end
  return model
end

local function banner_of(model, now, t)
  if model.state ~= "approved" then
    return {
      tone = present.model_tone(model.state) == "bad" and "bad" or "warn", icon = "info",
      title = t("model.state." .. model.state), text = model.state_reason or t("studio.not_approved"),
    }
  end
  if now.state == "offline" then
    return { tone = "", icon = "camera", title = t("studio.state_offline"),
      text = t("studio.offline_text") }
  end
  return { tone = now.state == "live" and "good" or "warn", icon = "camera",
    title = t("studio.state_" .. now.state) }
end

local function checklist_of(model, room, key, req)
  local t = req.t
  local list = {}
  local function add(done, title, text)
    list[#list + 1] = { done = done, icon = done and "check" or "circle", title = t(title), text = text }
  end
  local approved = model.state == "approved"
  add(approved, "studio.check_approved", not approved and t("model.state." .. model.state) or nil)
  add(key ~= nil, "studio.check_key", not key and t("studio.check_key_text") or nil)
  add(room.title ~= "", "studio.check_title", room.title == "" and t("studio.check_title_text") or nil)
  add(#room.tags > 0, "studio.check_tags", #room.tags == 0 and t("studio.check_tags_text") or nil)
  add(true, "studio.check_rate", room.rate == 0 and t("studio.check_rate_free")
    or t("studio.check_rate_paid", { rate = present.credits(room.rate, req.locale) }))
  return list
end

local function page(req, model, shown, status)
  local t = req.t
  local room = rooms.by_slug(model.slug)
  local key = stream_keys.of_model(model.id)
  -- A key that was just made waits here for the one page that shows it.
  local slot = "studio.key:" .. model.id .. ":" .. tostring(req.session and req.session.id)
  local new_key = cache.get(slot)
  if new_key then cache.delete(slot) end
  local now = live.of(model.slug)
  return req:render("studio/index", {
    panel = show_panel.of(req, model),
    model = model, state = now.state, banner = banner_of(model, now, t),
    checklist = checklist_of(model, room, key, req), key = key, new_key = new_key,
    approved = model.state == "approved",
    publish_url = config.get("rtmp.publish_url") or "rtmp://localhost/publish",
    form = shown or forms.fresh {
      title = room.title, tags = table.concat(room.tags, ", "), bio = room.bio,
      rate = tostring(room.rate // CREDIT), version = room.version,
    },
  }, status)
end

return function(site)
  site:group({ prefix = "/studio", signed_in = true }, function(group)
    group:get("/", { name = "studio" }, function(req) return page(req, model_of(req)) end)

    group:post("/room", function(req)
      local model = model_of(req)
      local values, errors = room_form:read(req)
      if errors then return page(req, model, forms.failed(values, errors), 422) end
      local saved = db.transaction(function(tx)
        return rooms.save({
          model_id = model.id, version = values.version, title = values.title or "",
          bio = values.bio or "", rate = values.rate * CREDIT, tags = tags_of(values.tags),
        }, tx)
      end)
      if not saved then
        local shown = forms.failed(values, { [""] = req.t("form.changed") })
        shown.values.version = rooms.by_slug(model.slug).version
        return page(req, model, shown, 409)
      end
      req:flash(req.t("studio.saved"), "success")
      return req:redirect("/studio")
    end)

    group:post("/key", {
      limit = { name = "stream_key", count = 20, seconds = 3600, by = "account" },
    }, function(req)
      local model = model_of(req)
      if model.state ~= "approved" then req:forbidden(req.t("studio.not_approved")) end
      local key = db.transaction(function(tx)
        local made = stream_keys.rotate(model.id, tx)
        -- After the projection that revokes the old key, or its encoder would be back at once.
        outbox.add("order", { channel = "ctl:hooks",
          message = { ["do"] = "drop", slug = model.slug, reason = "key_rotated" } }, tx)
        audit.write({ actor = req.account.id, action = "model.key_rotated",
          target = "model:" .. model.id, ip = req.remote }, tx)
        return made
      end)
      cache.set("studio.key:" .. model.id .. ":" .. tostring(req.session and req.session.id), key, 60)
      return req:redirect("/studio")
    end)
  end)
end
